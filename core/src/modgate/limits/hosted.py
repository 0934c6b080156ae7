"""Sharing levels between the gateways of one host: one of them owns the levels, the others ask it.

The owner is whoever gets a lock file first; the kernel takes the lock back however its holder ends.
The owner writes the levels to a file every few seconds and when it closes, and the next owner
begins with them.  Lock and file lie beside the socket.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from pathlib import Path

from modgate.clock import Clock
from modgate.limits.kept_levels import KeptLevels
from modgate.limits.levels import Levels
from modgate.limits.owner import Owner, OwnerStore

log = logging.getLogger(__name__)

SCHEME = "owner://"
PATH_BYTES = 100  # what a socket's address holds, with room


class HostedStore(OwnerStore):
    """The store of all gateways that name the same `path`, a socket's.

    Each tries to become the owner before it connects, so that one that died is followed by whoever
    connects next.  ValueError for a path that cannot be a socket's.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path)
        if not path.is_absolute() or len(os.fsencode(path)) > PATH_BYTES:
            raise ValueError(f"{SCHEME} wants an absolute path of at most {PATH_BYTES} bytes")
        self._clock = clock
        self._kept = KeptLevels(Path(f"{path}.levels"))
        self._lock = -1
        self._owner: Owner | None = None
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def owns(self) -> bool:
        """Whether this gateway has the levels."""
        return self._owner is not None

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._owner is None and self._locked():
            owner = Owner(self._clock)
            owner.store.levels = self._kept.read(Levels, int(self._clock.wall() * 1000))
            try:
                await owner.open(self._path)
            except BaseException:  # the deadline, too: somebody else may have more luck
                os.close(self._lock)
                raise
            self._owner = owner
            work = self._kept.keep(owner.store.levels.written, self._closing)
            self._writing = asyncio.get_running_loop().create_task(work)
            log.info("limit levels owned", extra={"levels": owner.store.levels.sizes()[0]})
        return await super()._reach()

    def _locked(self) -> bool:
        """Whether this process gets the lock.  OSError when the directory cannot be made."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)  # for whoever wants to know
        self._lock = lock
        return True

    async def close(self) -> None:
        """Close the connection; an owner writes the levels down and lets the next one begin."""
        await super().close()
        if self._owner is None or self._writing is None:
            return
        await self._owner.close()
        self._closing.set()
        await self._writing
        self._owner = None
        os.close(self._lock)
