"""Entries that were written a moment ago, for sinks that keep up with the ledger.

They need not read the file and prove the chain of what this process wrote itself.  Whatever is not
here, or not here any more, they read from the disk (tail.py): nothing depends on it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from modgate.ledger.disk import Position
from modgate.ledger.frames import Entry
from modgate.ledger.tail import Piece

BYTES_AT_MOST = 2 << 20
PIECES_AT_MOST = 256  # some seconds of groups


@dataclass(slots=True, eq=False)
class Group:
    """Entries since the last sync, `size` bytes of them.

    `entries` None: the disk made its sync wait until they were too many; it has to say them.
    """

    at_most: int = BYTES_AT_MOST
    size: int = 0
    entries: list[Entry] | None = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """One more."""
        if self.entries is None:
            return
        self.size += len(entry.payload)
        if self.size > self.at_most:
            self.entries = None
        else:
            self.entries.append(entry)


@dataclass(slots=True, eq=False)
class Fresh:
    """One piece for each group that was synced, by the position before it; bounded."""

    bytes_at_most: int = BYTES_AT_MOST
    _pieces: dict[Position, Piece] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def synced(self, before: Position, group: Group, behind: Position) -> None:
        """A group is on disk: all entries with rows of the frames between two positions."""
        entries = group.entries
        if before == behind or entries is None:
            return
        with self._lock:
            self._pieces[before] = Piece(entries=entries, behind=behind)
            self._bytes += _size(entries)
            while self._bytes > self.bytes_at_most or len(self._pieces) > PIECES_AT_MOST:
                self._bytes -= _size(self._pieces.pop(next(iter(self._pieces))).entries)

    def after(self, position: Position, at_most: int) -> Piece | None:
        """What follows a position, of at most so many bytes; None: the disk has to say it."""
        entries: list[Entry] = []
        behind, left = position, at_most
        with self._lock:
            while (piece := self._pieces.get(behind)) is not None:
                left -= _size(piece.entries)
                if left < 0:
                    break
                entries += piece.entries
                behind = piece.behind
        return Piece(entries=entries, behind=behind) if behind != position else None


def _size(entries: Sequence[Entry]) -> int:
    return sum(len(each.payload) for each in entries)
