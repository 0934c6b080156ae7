"""Certificates that tests make for themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str) -> None:
    """A self-signed certificate for `localhost` with a subject of its own."""
    asked = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    subprocess.run(
        ["openssl", *asked.split(), *names, *files],
        check=True,
        capture_output=True,
        timeout=30,
    )
