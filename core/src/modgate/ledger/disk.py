"""The files of one chain: appended to whole or not at all, brought to the disk in groups.

One side appends (under the ledger's lock), the other (the ledger's thread) syncs and closes: only
it closes a descriptor, so that a segment which is full costs the event loop no wait for the disk.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from modgate.ledger.frames import SegmentHeader, Tampered, Torn, segment_head
from modgate.ledger.segments import FIRST_CHAIN, head_of, segment_name, segments

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


class Position(NamedTuple):
    """Behind a frame: its segment, the bytes and frames of that up to here, and the chain."""

    segment: int = 0
    offset: int = 0
    frames: int = 0
    last: bytes = FIRST_CHAIN


NOWHERE = Position()


class Unsynced(NamedTuple):
    """What one group brings to the disk: frames up to `position`."""

    position: Position
    fd: int
    full: tuple[int, ...]
    created: bool


@dataclass(slots=True, eq=False)
class Disk:
    """The segments of one worker.

    `sizes` and `counts`: bytes and frames by number, `kept`: bytes of all; the newest is being
    written, and its frames are `frames`.
    """

    directory: Path
    worker: str
    number: int = 0
    written: int = 0
    frames: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    kept: int = 0
    _fd: int = -1
    _half: bool = False
    _syncing: int = -1  # nobody may close it meanwhile
    _full: dict[int, int] = field(default_factory=dict)
    _created: bool = False

    @classmethod
    def of(cls, directory: Path, worker: str, number: int, counts: dict[int, int]) -> Disk:
        """What lies there; `number`: the highest that was ever used."""
        sizes = {n: path.stat().st_size for n, path in segments(directory, worker).items()}
        return cls(
            directory,
            worker,
            number=number,
            sizes=sizes,
            counts=counts,
            kept=sum(sizes.values()),
        )

    @property
    def ready(self) -> bool:
        """Whether a segment is open."""
        return self._fd >= 0

    @property
    def removed(self) -> bool:
        """Whether somebody took away the newest segment: what goes into it is there for nobody.

        A disk that does not even say so tells with the next write.
        """
        if self._fd < 0:
            return False
        try:
            return not os.path.samestat(os.fstat(self._fd), self.path(self.number).stat())
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def path(self, number: int) -> Path:
        """A segment's file."""
        return self.directory / segment_name(self.worker, number)

    def retire(self) -> None:
        """Nothing more goes into the newest segment; the next group syncs and closes it."""
        if self._fd >= 0:
            self._full[self.number] = self._fd
            self._fd = -1
            self.counts[self.number] = self.frames

    def begin(self, header: SegmentHeader) -> None:
        """A new segment; OSError leaves none behind."""
        self.retire()
        path, head = self.path(header.number), segment_head(header)
        fd = os.open(path, FLAGS, 0o600)
        try:
            if os.write(fd, head) != len(head):
                raise _no_room()
        except OSError:
            os.close(fd)
            path.unlink()  # frames behind half a header could not be read
            raise
        self._fd, self.number, self.written, self.frames = fd, header.number, 0, 0
        self._grew(len(head))
        self._created = True

    def append(self, data: bytes) -> None:
        """All of it or nothing: half a frame would look like a torn tail in the middle."""
        if self._half:
            os.ftruncate(self._fd, self.written)
            self._half = False
        written = os.write(self._fd, data)
        if written != len(data):
            self._half = True
            os.ftruncate(self._fd, self.written)
            self._half = False
            raise _no_room()
        self.frames += 1
        self._grew(written)

    def _grew(self, count: int) -> None:
        self.kept += count
        self.written += count
        self.sizes[self.number] = self.written

    def drop(self, number: int) -> Position:
        """Remove a segment, its room is free at once; the answer: what it ended with."""
        self.recount()
        following = min(each for each in self.sizes if each > number)
        last = _begins_with(self.path(following))
        end = Position(number, self.sizes.get(number, 0), self.counts.get(number, 0), last)
        if (fd := self._full.get(number, self._syncing)) != self._syncing:
            del self._full[number]
            os.close(fd)
        self.path(number).unlink(missing_ok=True)
        self.kept -= self.sizes.pop(number, 0)
        self.counts.pop(number, None)
        return end

    def changed_at(self, number: int) -> float:
        """When a segment was written last; 0.0 when somebody moved it away."""
        path = self.path(number)
        return path.stat().st_mtime if path.exists() else 0.0

    def recount(self) -> None:
        """Forget the segments that somebody moved away; the newest is being written."""
        for number in [each for each in self.sizes if not self.path(each).exists()]:
            if number == self.number:
                continue
            self.kept -= self.sizes.pop(number)
            self.counts.pop(number, None)

    def behind(self, segment: int, offset: int, frames: int) -> tuple[int, int]:
        """Frames and bytes from a position to the newest frame."""
        counts = {**self.counts, self.number: self.frames}
        later = [number for number in self.sizes if number >= segment]
        known = segment in self.sizes
        return (
            sum(counts.get(number, 0) for number in later) - frames * known,
            sum(self.sizes[number] for number in later) - offset * known,
        )

    def group(self, last: bytes) -> Unsynced:
        """What is to be synced now; `last`: the chain behind the newest frame."""
        full, self._full = tuple(self._full.values()), {}
        created, self._created = self._created, False
        self._syncing = self._fd
        position = Position(self.number, self.written, self.frames, last)
        return Unsynced(position=position, fd=self._fd, full=full, created=created)

    def sync(self, group: Unsynced) -> None:
        """Bring a group to the disk; OSError when the disk did not take it."""
        failed: OSError | None = None
        for fd in group.full:
            try:
                os.fdatasync(fd)
            except OSError as error:
                failed = error
            finally:
                os.close(fd)
        if group.created:  # a file whose name is lost is lost
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        if group.fd >= 0:
            os.fdatasync(group.fd)
        self._syncing = -1
        if failed is not None:
            raise failed


def _no_room() -> OSError:
    """It took a part of what was written."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _begins_with(path: Path) -> bytes:
    """The chain that a segment goes on from; empty where it cannot be read any more."""
    try:
        return head_of(path).last
    except (OSError, Torn, Tampered):
        return b""
