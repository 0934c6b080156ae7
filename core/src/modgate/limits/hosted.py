"""The levels of one host: the first gateway that gets the lock owns them, the others ask it.

Beside the socket lie the lock, which the kernel gives back however its holder ends, and what the
owner wrote down of the levels, which the next owner begins with.  An owner that closes writes all
of it; one that is killed leaves what it wrote some seconds before.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from modgate.clock import Clock
from modgate.limits.levels import Levels
from modgate.limits.owner import Owner, OwnerStore
from modgate.whole_file import write_whole

log = logging.getLogger(__name__)

SCHEME = "owner://"
WRITTEN_EVERY_S = 5.0
PATH_BYTES = 100  # what a socket's address holds, with room


class HostedStore(OwnerStore):
    """The store at `path`, a socket; ValueError for a path that cannot be one.

    Owning is tried whenever there is nobody to connect to, so an owner that died is followed by
    whoever asks next.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path)
        if not path.is_absolute() or len(os.fsencode(path)) > PATH_BYTES:
            raise ValueError(f"{SCHEME} wants an absolute path of at most {PATH_BYTES} bytes")
        self._clock = clock
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
            owner.store.levels = _read(self._kept, int(self._clock.wall() * 1000))
            try:
                await owner.open(self._path)
            except BaseException:  # the deadline, too: somebody else may have more luck
                os.close(self._lock)
                raise
            self._owner = owner
            self._writing = asyncio.get_running_loop().create_task(self._write(owner))
            log.info("limit levels owned", extra={"levels": owner.store.levels.sizes()[0]})
        return await super()._reach()

    def _locked(self) -> bool:
        """OSError when there is no such directory, and none can be made."""
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

    @property
    def _kept(self) -> Path:
        return Path(f"{self._path}.levels")

    async def _write(self, owner: Owner) -> None:
        """Every now and then, and a last time when nobody changes them any more."""
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITTEN_EVERY_S):
                    await self._closing.wait()
            await asyncio.to_thread(put, self._kept, owner.store.levels.written())

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


def put(path: Path, data: bytes) -> bool:
    """Whole or not at all; what cannot be written is said, and the levels go on."""
    try:
        write_whole(path, data)
    except OSError as error:
        log.error("limit levels not written", extra={"reason": type(error).__name__})
        return False
    return True


def _read(path: Path, now_ms: int) -> Levels:
    try:
        return Levels.read(path.read_bytes(), now_ms)
    except FileNotFoundError:
        return Levels()
    except (OSError, msgspec.MsgspecError) as error:
        log.error("limit levels not read", extra={"reason": type(error).__name__})
        return Levels()
