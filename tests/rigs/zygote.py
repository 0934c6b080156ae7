"""`modgate` in a moment: forked from a process that has all of it imported.

How it comes to that by itself is seen by the tests that start the command: `clients.serving`
without a file, `rigs.served`, the starts and the wheels.

python zygote.py   a line of JSON -> a number: what to start -> its pid; {"ended": PID} -> its code
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

# What every gateway of the tests imports; one that needs more takes a bit longer.
LOADED = ("modgate.cli.serve_", "modgate.server.run", "uvloop", "redis.asyncio")


class Forked:
    """`modgate ARGUMENTS` that runs; its members are those of `subprocess.Popen`."""

    def __init__(
        self, arguments: Sequence[str], output: Path, environment: Mapping[str, str] = os.environ
    ) -> None:
        output.write_bytes(b"")  # who waits for what it says may look at once
        said = {"output": str(output), "environment": dict(environment)}
        self.pid = _asked({"arguments": list(arguments), **said})
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Its code, when it has ended."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its code; TimeoutExpired after so many seconds."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("modgate", timeout or 0.0)
        return code

    def _ended(self, within_s: float | None) -> int | None:
        if self.returncode is None:
            poller = select.poll()
            poller.register(self._pidfd, select.POLLIN)
            if poller.poll(None if within_s is None else within_s * 1000):
                os.close(self._pidfd)
                self.returncode = _asked({"ended": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)


@cache
def _zygote() -> subprocess.Popen[str]:
    """One for all tests of this process; it ends with it."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True)
    atexit.register(process.communicate)
    return process


def _asked(what: object) -> int:
    process = _zygote()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(what) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def main() -> None:
    """The process that has it imported: it starts no thread, and holds nothing that is open."""
    for module in LOADED:
        import_module(module)
    for point in entry_points(group="modgate.v1"):
        point.load()
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        said = json.loads(line)
        if "ended" in said:
            number = os.waitstatus_to_exitcode(os.waitpid(said["ended"], 0)[1])
        elif (number := os.fork()) == 0:
            _run(said["arguments"], said["output"], said["environment"])
        print(number, flush=True)


def _run(arguments: Sequence[str], output: str, environment: Mapping[str, str]) -> None:
    """The fork: as if the command had been started with this environment."""
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY)
    for number, fd in enumerate((nothing, file, file)):
        os.dup2(fd, number)
    os.close(nothing)
    os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["modgate", *arguments]
    import_module("modgate.cli").main()  # exits


if __name__ == "__main__":
    main()
