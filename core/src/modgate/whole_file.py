"""Small files that are written anew each time."""

from __future__ import annotations

import os
from pathlib import Path

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def write_whole(path: Path, data: bytes) -> None:
    """The old content or the new, also after a power cut; for nobody else to read.  OSError."""
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, FLAGS, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # else the name may be on the disk before what it stands for
    fresh.replace(path)
