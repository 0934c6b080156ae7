"""Deciding whether the shared store of limits is asked at all.  Pure, but for what it logs."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)

FAILURES_AT_MOST = 5
WAITING_AT_MOST = 10


@dataclass(slots=True)
class Breaker:
    """Open, it keeps requests from waiting for a store that does not answer.

    `failures`: how many times in a row the store did not answer; at `FAILURES_AT_MOST` it opens.
    `waits`: requests that began to wait since the last answer.  `waiting`: those that still do.
    """

    failures: int = 0
    open: bool = False
    waits: int = 0
    waiting: int = 0

    @property
    def crowded(self) -> bool:
        """Whether nobody else should begin to wait: it is open, or it failed and enough wait."""
        return self.open or bool(self.failures and self.waits >= WAITING_AT_MOST)

    def failed(self, reason: str) -> None:
        """The store did not answer; `reason` is for the log."""
        self.failures += 1
        if self.failures >= FAILURES_AT_MOST and not self.open:
            self.open = True
            log.error("limit store down", extra={"reason": reason})

    def answered(self) -> None:
        """The store answered."""
        self.failures = 0
        self.waits = self.waiting
        if self.open:
            self.open = False
            log.warning("limit store up")
