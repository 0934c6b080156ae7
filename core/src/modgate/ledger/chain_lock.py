"""The lock that lets only one process write a chain."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class ChainLocked(OSError):
    """Another process writes this chain."""


class ChainLock:
    """Held on one worker's chain for as long as its writer lives; a killed process lets go.

    Raises ChainLocked when another process has it.  The file stays behind, and says nothing.
    """

    def __init__(self, directory: Path, worker: str) -> None:
        self._path = directory / (f"lock-{worker}" if worker else "lock")
        self._fd = _locked(self._path)
        self._lost = False

    def renew(self) -> None:
        """Lock the file that is there now, where somebody took away the one that was locked.

        ChainLocked when another process was first: it goes on from what it found, and ever after
        this one must not.  OSError where no file can be made.
        """
        if self._lost:
            raise _held(self._path)
        if self._is_there():
            return
        try:
            fd = _locked(self._path)
        except ChainLocked:
            self._lost = True
            raise
        os.close(self._fd)
        self._fd = fd

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def close(self) -> None:
        """Let go; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise _held(path) from None
    return fd


def _held(path: Path) -> ChainLocked:
    return ChainLocked(f"{path} is held by another process")
