"""How many calls of a pool may be tried once more: a share of its requests, and never a storm.

Source: algorithms.md 5.1 (retry budget, as Finagle and Linkerd have it).
"""

from __future__ import annotations

SHARE = 0.1  # of a retry is earned by each request
AT_MOST = 10.0
EACH_S = 1.0  # a pool of few requests has so many, too


class Retries:
    """One pool's.  It outlives a reload: a reload in the middle of an outage refills nothing."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = AT_MOST
        self._at = float("-inf")

    @property
    def left(self) -> float:
        """How many there are now, as of the last one that was spent."""
        return self._left

    def earn(self) -> None:
        """A request came: a share of a retry."""
        left = self._left + SHARE
        self._left = left if left < AT_MOST else AT_MOST

    def spend(self, now: float) -> bool:
        """Take one; False = there is none, and the failure stands."""
        if now > self._at:
            earned = min(AT_MOST, (now - self._at) * EACH_S)
            self._left = min(AT_MOST, self._left + earned)
            self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
