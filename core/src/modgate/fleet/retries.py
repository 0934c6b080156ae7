"""How many calls of a pool may be tried once more: a share of its requests, and never a storm.

When an engine vanishes, what it had in hand fails at once: as many calls as came in the seconds
that it took to notice.  So what is saved grows with the requests of the last seconds.

Source: algorithms.md 5.1 (retry budget, as Finagle and Linkerd have it).
"""

from __future__ import annotations

SHARE = 0.1  # of a retry is earned by each request
AT_MOST = 10.0  # are saved, or what was earned in this window and the one before
WINDOW_S = 20.0
EACH_S = 1.0  # a pool of few requests has so many, too


class Retries:
    """One pool's.  It outlives a reload: a reload in the middle of an outage refills nothing."""

    __slots__ = ("_at", "_before", "_left", "_turns", "_window")

    def __init__(self) -> None:
        self._left = AT_MOST
        self._at = float("-inf")
        self._window = 0.0
        self._before = 0.0
        self._turns = float("-inf")

    @property
    def left(self) -> float:
        """How many there are now, as of the last request or retry."""
        return self._left

    @property
    def most(self) -> float:
        """How many are saved, as of the last request."""
        earned = self._window + self._before
        return earned if earned > AT_MOST else AT_MOST

    def earn(self, now: float) -> None:
        """A request came: a share of a retry."""
        if now >= self._turns:
            self._before = self._window if now < self._turns + WINDOW_S else 0.0
            self._window, self._turns = 0.0, now + WINDOW_S
        self._window += SHARE
        left = self._left + SHARE
        self._left = left if left < AT_MOST or left < (most := self.most) else most

    def spend(self, now: float) -> bool:
        """Take one; False = there is none, and the failure stands."""
        if now > self._at:
            earned = min(AT_MOST, (now - self._at) * EACH_S)
            self._left = min(self.most, self._left + earned)
            self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
