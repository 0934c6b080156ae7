"""Entries that were written a moment ago, for sinks that keep up with the ledger.

They need not read the file and prove the chain of what this process wrote itself.  Whatever is not
here, or not here any more, they read from the disk (tail.py): nothing depends on it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from modgate.ledger.disk import Position
from modgate.ledger.frames import Entry
from modgate.ledger.tail import Piece

BYTES_AT_MOST = 2 << 20
GROUPS_AT_MOST = 256  # some seconds of groups


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
    """The groups that were synced, by the position before each, and the one behind it; bounded."""

    bytes_at_most: int = BYTES_AT_MOST
    _groups: dict[Position, tuple[Group, Position]] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def synced(self, before: Position, group: Group, behind: Position) -> None:
        """A group is on disk: all entries with rows of the frames between two positions."""
        if before == behind or group.entries is None:
            return
        with self._lock:
            self._groups[before] = (group, behind)
            self._bytes += group.size
            while self._bytes > self.bytes_at_most or len(self._groups) > GROUPS_AT_MOST:
                oldest, _ = self._groups.pop(next(iter(self._groups)))
                self._bytes -= oldest.size

    def after(self, position: Position, at_most: int) -> Piece | None:
        """What follows a position, of at most so many bytes; None: the disk has to say it."""
        entries: list[Entry] = []
        behind, left = position, at_most
        with self._lock:
            while (found := self._groups.get(behind)) is not None:
                group, end = found
                left -= group.size
                if left < 0:
                    break
                entries += group.entries or ()
                behind = end
        return Piece(entries=entries, behind=behind) if behind != position else None
