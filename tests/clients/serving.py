"""`modgate serve` as a user starts it: a process, a fresh state directory, mostly no file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from rigs.zygote import Forked

ROOT = Path(__file__).parents[2]
START_S = 30.0
STOP_S = 30.0
_ADDRESS = re.compile(r"modgate serves (http://\S+)")
_ADMIN = re.compile(r"\(admin: (http://[^\s)]+)\)")
_KEY = re.compile(r"export MODGATE_KEY=(\S+)")
_HINT = re.compile(r"^  (\S+): not installed; run:((?:\n {6}.+)+)", re.MULTILINE)


def without(reason: str) -> NoReturn:
    """Skip with a hint what to install; a failure where the machine must have it all."""
    if os.environ.get("MODGATE_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)  # what is to be installed


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running gateway: where it listens, and a key: that it printed, or of its file."""

    root: str
    admin: str
    key: str = field(repr=False)
    output: Path
    process: subprocess.Popen[bytes] | Forked

    @property
    def v1(self) -> str:
        """The base URL that most SDKs want."""
        return self.root + "/v1"

    def missing(self) -> dict[str, str]:
        """Models that are not installed, each with the lines to run that were printed."""
        return {name: lines.strip() for name, lines in _HINT.findall(self.output.read_text())}


@contextmanager
def serving(folder: Path, config: Path | None = None, key: str = "") -> Iterator[Served]:
    """Start `modgate serve` on free ports with its state in `folder`; stop it by SIGTERM.

    With a file, which many tests have, it is forked, and `key` is one of that file's tenants.  What
    a test kills is not stopped.

    AssertionError with its output when it does not start or does not stop well.
    """
    output = folder / "output"
    environment = {"MODGATE_DATA": str(ROOT / ".models"), **os.environ, "PYTHONUNBUFFERED": "1"}
    arguments = ["serve", "--directory", str(folder / "state"), "--log-level", "warning"]
    arguments += ["--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]
    process: subprocess.Popen[bytes] | Forked
    if config:
        process = Forked([*arguments, str(config)], output, environment)
    else:
        command = [str(Path(sys.executable).with_name("modgate")), *arguments]
        with output.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        yield _started(process, output, key)
    finally:
        killed = process.poll() == -signal.SIGKILL
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    assert killed or code == 0, output.read_text()


def _started(process: subprocess.Popen[bytes] | Forked, output: Path, key: str) -> Served:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        text = output.read_text()
        address, printed = _ADDRESS.search(text), _KEY.search(text)
        admin = _ADMIN.search(text)
        if address and admin and (key or printed):
            return Served(
                root=address.group(1),
                admin=admin.group(1),
                key=key or (printed[1] if printed else ""),
                output=output,
                process=process,
            )
        time.sleep(0.05)
    raise AssertionError(f"`modgate serve` did not start:\n{output.read_text()}")
