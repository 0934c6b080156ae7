"""What waits in memory while the disk takes nothing, and must not be lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from modgate.ledger.frames import Kind
from modgate.ledger.journal import Journal
from modgate.ledger.records import Noted

AT_MOST = 64 << 20


@dataclass(slots=True, eq=False)
class Backlog:
    """Frames in the order of their coming, `AT_MOST` bytes of payload together, and notes.

    `lost`: frames that came when there was no room for them.  The notes are few: one for each
    thing that befell the disk.  Their own times are those at which they are written.
    """

    lost: int = 0
    notes: list[Noted] = field(default_factory=list)
    _frames: deque[tuple[Kind, bytes]] = field(default_factory=deque)
    _bytes: int = 0

    @property
    def waiting(self) -> int:
        """How many frames are in memory only."""
        return len(self._frames)

    def put(self, kind: Kind, payload: bytes) -> bool:
        """Keep a frame; False when there is no room, and it is lost."""
        if self._bytes + len(payload) > AT_MOST:
            self.lost += 1
            return False
        self._frames.append((kind, payload))
        self._bytes += len(payload)
        return True

    def write(self, journal: Journal, wall: float) -> int:
        """Write all of it, the notes first, and return the number of frames.

        OSError when the disk still takes nothing; what was written until then does not wait any
        more.
        """
        while self.notes:
            journal.note(msgspec.structs.replace(self.notes[0], wall=wall))
            del self.notes[0]
        count = len(self._frames)
        while self._frames:
            kind, payload = self._frames[0]
            journal.append(kind, payload)
            self._frames.popleft()
            self._bytes -= len(payload)
        return count
