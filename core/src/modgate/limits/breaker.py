"""Whether the shared store of limits is asked at all.  Pure, but for what it logs."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)

FAILURES_AT_MOST = 5
WAITING_AT_MOST = 10


@dataclass(slots=True)
class Breaker:
    """Whether the store is asked at all.

    `waits`: requests that waited since it answered last.  Once it has failed to, few may.
    """

    failures: int = 0
    open: bool = False
    waits: int = 0
    waiting: int = 0
    opened: int = 0  # how often, for the metric

    @property
    def crowded(self) -> bool:
        """Whether nobody else should wait for it."""
        return self.open or bool(self.failures and self.waits >= WAITING_AT_MOST)

    def failed(self, reason: str) -> None:
        """The store did not answer."""
        self.failures += 1
        if self.failures >= FAILURES_AT_MOST and not self.open:
            self.open = True
            self.opened += 1
            log.error("limit store down", extra={"reason": reason})

    def answered(self) -> None:
        """The store did answer."""
        self.failures = 0
        self.waits = self.waiting
        if self.open:
            self.open = False
            log.warning("limit store up")
