"""The segment files of one chain: frames are appended whole or not at all, and synced in groups.

Two sides use it.  Whoever writes appends, under the ledger's lock.  The ledger's thread syncs, and
it alone closes descriptors: closing a full segment may wait for the disk, and the event loop must
not.
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
    """The place right behind a frame, or behind a segment's header.

    `segment`: its number.  `offset`, `frames`: how many bytes and frames of it are before here.
    `last`: the chain value here, which the next frame follows.
    """

    segment: int = 0
    offset: int = 0
    frames: int = 0
    last: bytes = FIRST_CHAIN


NOWHERE = Position()


class Unsynced(NamedTuple):
    """What one sync has to bring to the disk: all frames before `position`.

    `fd`: the newest segment's descriptor, -1 when there is none.  `full`: descriptors of segments
    that nothing more goes into, to be synced and closed.  `created`: a file was made since the last
    sync, so the directory is synced, too.
    """

    position: Position
    fd: int
    full: tuple[int, ...]
    created: bool


@dataclass(slots=True, eq=False)
class Disk:
    """The segments of one worker.

    `number`: of the newest segment, which is being written; `written` and `frames` are the bytes
    and frames in it.
    `sizes`: bytes by segment number, the newest included.  `kept`: the sum of them.
    `counts`: frames by segment number, without the newest.
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
    _half: bool = False  # half a frame is at the end, and could not be cut off yet
    _syncing: frozenset[int] = frozenset()  # segments in a sync that runs: only that closes them
    _full: dict[int, int] = field(default_factory=dict)  # descriptors by number, to be closed
    _created: bool = False

    @classmethod
    def of(cls, directory: Path, worker: str, number: int, counts: dict[int, int]) -> Disk:
        """What a directory holds.

        `number`: the highest that was ever used.  `counts`: frames by segment number.
        """
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
        """Whether somebody took away the newest segment, so that nobody can read what goes into it.

        False also when the disk does not answer; the next write will fail then, and say so.
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
        """Put nothing more into the newest segment; the next sync closes it."""
        if self._fd >= 0:
            self._full[self.number] = self._fd
            self._fd = -1
            self.counts[self.number] = self.frames

    def begin(self, header: SegmentHeader) -> None:
        """Begin the segment that the header names.  OSError leaves no file behind."""
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
        """Append a whole frame; OSError when the disk does not take all of it.

        Half a frame is cut off again, or the next one behind it would make it look tampered with.
        """
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

    def end_of(self, number: int) -> Position:
        """Where a segment that is not the newest ends."""
        self.recount()
        following = min(each for each in self.sizes if each > number)
        last = _begins_with(self.path(following))
        return Position(number, self.sizes.get(number, 0), self.counts.get(number, 0), last)

    def drop(self, number: int) -> None:
        """Remove a segment that is not the newest.

        Its room is free at once: its descriptor is closed, or its bytes are taken.
        """
        if number in self._syncing:
            self._empty(number)
        elif number in self._full:
            os.close(self._full.pop(number))
        self.path(number).unlink(missing_ok=True)
        self.kept -= self.sizes.pop(number, 0)
        self.counts.pop(number, None)

    def _empty(self, number: int) -> None:
        """Remove a segment that a sync has open, and its bytes: it holds their room until it ends.

        Its name goes first, so that nobody opens half of it.
        """
        path = self.path(number)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            path.unlink(missing_ok=True)
            if not os.fstat(fd).st_nlink:  # somebody's backup may be a link to it
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def changed_at(self, number: int) -> float:
        """The time of day at which a segment was last written; 0.0 when somebody moved it away."""
        path = self.path(number)
        return path.stat().st_mtime if path.exists() else 0.0

    def recount(self) -> None:
        """Forget the segments that somebody moved away, except the newest."""
        for number in [each for each in self.sizes if not self.path(each).exists()]:
            if number == self.number:
                continue
            self.kept -= self.sizes.pop(number)
            self.counts.pop(number, None)

    def size_since(self, position: Position) -> tuple[int, int]:
        """How many frames and bytes lie between a position and the newest frame."""
        counts = {**self.counts, self.number: self.frames}
        later = [number for number in self.sizes if number >= position.segment]
        known = position.segment in self.sizes
        return (
            sum(counts.get(number, 0) for number in later) - position.frames * known,
            sum(self.sizes[number] for number in later) - position.offset * known,
        )

    def group(self, last: bytes) -> Unsynced:
        """Take what is to be synced now.  `last`: the chain value behind the newest frame."""
        full, self._full = self._full, {}
        created, self._created = self._created, False
        self._syncing = frozenset((*full, self.number))
        position = Position(self.number, self.written, self.frames, last)
        return Unsynced(position=position, fd=self._fd, full=tuple(full.values()), created=created)

    def sync(self, group: Unsynced) -> None:
        """Bring a group to the disk.  OSError when the disk did not take some of it."""
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
        self._syncing = frozenset()
        if failed is not None:
            raise failed


def _no_room() -> OSError:
    """The error of a disk that took only a part of what was written, and did not say why."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _begins_with(path: Path) -> bytes:
    """The chain value that a segment follows; empty when its header cannot be read."""
    try:
        return head_of(path).last
    except (OSError, Torn, Tampered):
        return b""
