"""Word of a ledger that fills up: before it takes no request any more, and when."""

from __future__ import annotations

import logging
from enum import Enum

from modgate.ledger.writer import Ledger

log = logging.getLogger(__name__)

NEARLY = 0.9  # of `max_bytes`, from which on it is told
DO = "move old segments away, oldest first; or set [ledger] keep_acknowledged"


class _Room(Enum):
    ENOUGH, LITTLE, NONE = "enough", "little", "none"


class FullLedger:
    """Watches the room of a ledger with `on_full = "refuse"`, and logs each change once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._room = _Room.ENOUGH

    async def look(self) -> None:
        """Tell whether there is less room than before, or enough again."""
        before, self._room = self._room, self._now()
        if self._room is before:
            return
        extra = {"bytes": self._ledger.kept_bytes, "max_bytes": self._ledger.max_bytes}
        if self._room is _Room.NONE:
            log.error("ledger is full: requests are refused", extra={**extra, "do": DO})
        elif before is _Room.ENOUGH:
            log.warning("ledger is nearly full", extra={**extra, "do": DO})
        else:
            log.warning("ledger has room again", extra=extra)

    def _now(self) -> _Room:
        kept, at_most = self._ledger.kept_bytes, self._ledger.max_bytes
        if kept >= at_most:
            return _Room.NONE
        return _Room.LITTLE if kept >= at_most * NEARLY else _Room.ENOUGH
