"""Who writes: the worker that holds a chain, its name in the sinks, and the machine's boot."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
CORRECTIONS = "rerate"  # the worker that posts corrections, beside the gateway's own chain
OWN = re.compile(r".+\.[0-9a-f]{8}")


class Held(OSError):
    """Another process writes this chain."""


class Hold:
    """The lock of one worker's chain, for as long as its writer lives."""

    def __init__(self, directory: Path, worker: str) -> None:
        path = directory / (f"lock-{worker}" if worker else "lock")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise Held(f"{path} is held by another process") from None

    def close(self) -> None:
        """Let go; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def machine_boot() -> str:
    """What differs after the machine went down: then unsynced frames may be gone."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return "unknown"


def writer_id(before: str, name: str, worker: str) -> str:
    """The writer of a chain, for ever: the one that its newest segment names, else a new one.

    `NAME.12345678`, `NAME-w2.12345678`: a directory that was lost and begun again is another writer
    of the same name.
    """
    if OWN.fullmatch(before):
        return before
    known = name or socket.gethostname() or "gateway"
    return f"{known}-{worker}.{os.urandom(4).hex()}" if worker else f"{known}.{os.urandom(4).hex()}"


def name_of(writer: str) -> str:
    """The name in a writer's id."""
    return writer.rpartition(".")[0]
