"""Frames that a full disk did not take and that must not be lost: they wait in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from modgate.ledger.frames import Kind

AT_MOST = 64 << 20


@dataclass(slots=True, eq=False)
class Waiting:
    """In order, bounded by bytes; `lost`: frames beyond the bound."""

    lost: int = 0
    _frames: deque[tuple[Kind, bytes]] = field(default_factory=deque)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, kind: Kind, payload: bytes) -> bool:
        """One more; False when it is lost."""
        if self._bytes + len(payload) > AT_MOST:
            self.lost += 1
            return False
        self._frames.append((kind, payload))
        self._bytes += len(payload)
        return True

    def first(self) -> tuple[Kind, bytes]:
        """The oldest."""
        return self._frames[0]

    def pop(self) -> None:
        """The oldest was written."""
        self._bytes -= len(self._frames.popleft()[1])
