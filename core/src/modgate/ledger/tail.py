"""Following a writer: reading what it brought to the disk, piece by piece, proven by the chain."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modgate.api.secret import Secret
from modgate.ledger.disk import NOWHERE, Position
from modgate.ledger.frames import (
    FRAME_HEAD,
    PAYLOAD_AT_MOST,
    Entry,
    Frame,
    Tampered,
    Torn,
    read_frames,
    read_head,
)
from modgate.ledger.records import read_records
from modgate.ledger.rows import HAVE_ROWS
from modgate.ledger.segments import HEAD_AT_MOST, segment_name, segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Entries that become rows in a sink, in order, and the position behind them.

    Frames that become none (an `open`, a note) were read, too: they are before that position.
    """

    entries: Sequence[Entry]
    behind: Position


class Tail:
    """Reads a worker's segments from a position on.

    `key`: None proves by checksums alone.
    """

    def __init__(
        self, directory: Path, worker: str, key: Secret | None, position: Position
    ) -> None:
        self._directory = directory
        self._worker = worker
        self._key = key
        self.position = position

    def read(self, until: Position, at_most: int) -> Piece | None:
        """The next frames, of about `at_most` bytes; None when there are none before `until`.

        The position stays where it is until `done` is called, so a piece may be read again.
        Tampered, which names the segment, where the chain is broken.
        """
        here, paths = self.position, segments(self._directory, self._worker)
        while here.segment <= until.segment:
            path = paths.get(here.segment)
            try:
                end = path.stat().st_size if path is not None else 0
            except FileNotFoundError:  # dropped a moment ago
                end = 0
            if here.segment == until.segment:
                end = min(end, until.offset)
            if path is not None and here.offset < end:
                return self._piece(path, here, end, at_most)
            following = [number for number in paths if number > here.segment]
            if not following or here.segment == until.segment:
                return None
            here = self._next(here, min(following), paths)
        return None

    def _next(self, here: Position, number: int, paths: dict[int, Path]) -> Position:
        """The beginning of segment `number`, which must follow where the one before it ended."""
        with paths[number].open("rb") as file:
            header, offset = read_head(file.read(HEAD_AT_MOST))
        follows = here != NOWHERE and number == here.segment + 1 and here.segment in paths
        if follows and header.last != here.last:
            raise Tampered(0, paths[number].name)
        return Position(number, offset, 0, header.last)

    def _piece(self, path: Path, here: Position, end: int, at_most: int) -> Piece:
        size = min(end - here.offset, at_most)
        while True:
            data = _bytes(path, here.offset, size)
            try:
                frames = list(_whole(data, self._key, here.last))
            except Tampered as error:
                raise Tampered(here.offset + error.offset, path.name) from None
            if frames or size >= end - here.offset or size > PAYLOAD_AT_MOST + FRAME_HEAD:
                break
            size = min(2 * size, end - here.offset)
        if not frames:
            path.stat()  # FileNotFoundError for one that was dropped while it was read
            raise Tampered(here.offset, path.name)
        behind = Position(
            here.segment,
            here.offset + frames[-1].end,
            here.frames + len(frames),
            frames[-1].chain,
        )
        entries = [each for each in frames if each.kind in HAVE_ROWS]
        return Piece(entries=entries, behind=behind)

    def done(self, piece: Piece) -> None:
        """A piece was dealt with, and the next one comes behind it."""
        self.position = piece.behind


def _whole(data: bytes, key: Secret | None, last: bytes) -> Iterator[Frame]:
    """The frames that are whole; half a one at the end is read with the next piece."""
    try:
        yield from read_records(data, 0, key, last)
    except Torn:
        return


def _bytes(path: Path, offset: int, size: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def chain_at(directory: Path, worker: str, segment: int, offset: int) -> bytes | None:
    """The chain value of the frame that ends at an offset; None when no frame ends there."""
    try:
        data = (directory / segment_name(worker, segment)).read_bytes()
        header, behind = read_head(data)
        if behind == offset:
            return header.last
        for each in read_frames(data, behind, None, header.last):
            if each.end == offset:
                return each.chain
    except (FileNotFoundError, Torn, Tampered):
        return None
    return None
