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
        path = directory / (f"lock-{worker}" if worker else "lock")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise ChainLocked(f"{path} is held by another process") from None

    def close(self) -> None:
        """Let go; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
