"""Files without a name: uploads, pieces and overflowing lanes live here, not in memory.

Each file is unlinked at creation, so a killed gateway leaves nothing behind.  The bytes of all
requests together are bounded; a tenant's own bound is the `charge` function that its scope is
given.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from modgate.api.body import File
from modgate.errors import Overloaded
from modgate.out_of_files import OUT_OF_FILES

Charge = Callable[[int], None]
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def _free(size: int) -> None:
    del size


class Spool:
    """All spool files of a gateway.

    `at_most` bytes together.  `used` and `files` are exact at any moment.
    """

    def __init__(self, directory: Path, at_most: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.at_most = at_most
        self.used = 0
        self.files = 0

    def scope(self, charge: Charge = _free) -> Scope:
        """The files of one request.

        `charge(bytes)` may raise and is given negative bytes when they are freed.
        """
        return Scope(self, charge)


class Scope:
    """One request's files; `close()` frees them all."""

    def __init__(self, spool: Spool, charge: Charge) -> None:
        self._spool = spool
        self._charge = charge
        self._sizes: dict[int, int] = {}

    def writer(self, kind: str = "application/octet-stream") -> Writer:
        """A new file, to be written once from start to end."""
        fd = _unnamed(self._spool.directory)
        self._sizes[fd] = 0
        self._spool.files += 1
        return Writer(self, fd, kind)

    def adopt(self, fd: int) -> File:
        """A file that a decoder process wrote; the descriptor is this scope's from now on."""
        self._sizes[fd] = 0
        self._spool.files += 1
        size = os.fstat(fd).st_size
        try:
            self.grow(fd, size)
        except BaseException:
            self._drop(fd)
            raise
        return File(fd=fd, size=size)

    def grow(self, fd: int, size: int) -> None:
        """Account for bytes about to be written; Overloaded when the spool is full."""
        if self._spool.used + size > self._spool.at_most:
            raise spool_full()
        self._charge(size)
        self._spool.used += size
        self._sizes[fd] += size

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(self._sizes.values())

    def drop(self, file: File) -> None:
        """Free one file before the request ends."""
        self._drop(file.fd)

    def _drop(self, fd: int) -> None:
        size = self._sizes.pop(fd, None)
        if size is None:
            return
        os.close(fd)
        self._spool.used -= size
        self._spool.files -= 1
        self._charge(-size)

    def close(self) -> None:
        """Free everything; safe to call twice."""
        for fd in list(self._sizes):
            self._drop(fd)


class Writer:
    """One spool file being written; writes go to the page cache and do not block for the disk."""

    __slots__ = ("_fd", "_kind", "_scope", "size")

    def __init__(self, scope: Scope, fd: int, kind: str) -> None:
        self._scope = scope
        self._fd = fd
        self._kind = kind
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; Overloaded when spool or disk, LimitReached when the tenant's share is full."""
        size = len(data)
        self._scope.grow(self._fd, size)
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            if error.errno in FULL:
                raise spool_full() from None
            raise
        self.size += size

    def done(self) -> File:
        """The file as written so far."""
        return File(fd=self._fd, size=self.size, kind=self._kind)


def spool_full() -> Overloaded:
    """What a request is told that the disk has no room for."""
    return Overloaded("the gateway's spool is full; try again later")


def _unnamed(directory: Path) -> int:
    """A file there; the directory is made anew where somebody has cleaned it away."""
    try:
        return _opened(directory)
    except FileNotFoundError:
        directory.mkdir(mode=0o700, parents=True)
        return _opened(directory)


def _opened(directory: Path) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:  # a file system without O_TMPFILE
        if error.errno in OUT_OF_FILES:
            raise Overloaded("the gateway can open no more files; try again later") from None
        fd, name = tempfile.mkstemp(dir=directory)
        os.unlink(name)
        return fd
