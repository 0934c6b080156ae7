"""Servers that tests start for themselves: a private process on a socket of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_S = 20.0
REQUIRED = "MODGATE_REQUIRE_SERVERS"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    url: str
    process: subprocess.Popen[bytes]

    def pause(self) -> None:
        """Stop it where it is: its socket stays open, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self.process.send_signal(signal.SIGCONT)


def found(program: str, package: str) -> str:
    """A program's path; a skip with the line to install it, or a failure where it must be there."""
    path = shutil.which(program)
    if path is None:
        text = f"{program} is not installed: apt-get install {package}"
        if os.environ.get(REQUIRED):
            pytest.fail(text)
        pytest.skip(text)
    return path


@contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """A Redis of one's own, on a unix socket, that writes nothing to disk."""
    program = found("redis-server", "redis-server")
    with tempfile.TemporaryDirectory(prefix="redis-") as short:  # a socket path holds 107 bytes
        path = Path(short) / "s"
        arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
        with (folder / "redis.log").open("wb") as log:
            process = subprocess.Popen(
                [program, *arguments, "--dir", short], stdout=log, stderr=log
            )
        try:
            end = time.monotonic() + READY_S
            while not path.exists():
                if process.poll() is not None or time.monotonic() > end:
                    raise TimeoutError((folder / "redis.log").read_text()[-2000:])
                time.sleep(0.02)
            yield Server(f"unix://{path}", process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
