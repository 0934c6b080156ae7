"""How much work of one model comes and goes, and how much of it is done a second while calls wait.

Source: algorithms.md 2.2 (completed units a second while the queue is not empty).
"""

from __future__ import annotations

from math import exp

OVER_S = 10.0
EACH_S = 0.25
TRUSTED_S = 1.0
SERVICE_SHARE = 0.1


class Tally:
    """Of one model.

    `offered`: work that was asked for, `served`: that was done, since the start; in the modality's
    weighted units.  `rate`: of the latter a second while calls wait; 0 = nobody knows yet.
    """

    __slots__ = (
        "_at",
        "_before",
        "_busy",
        "_new_s",
        "_new_work",
        "_rate",
        "_seen_s",
        "_service",
        "offered",
        "served",
    )

    def __init__(self) -> None:
        self.offered = 0.0
        self.served = 0.0
        self._rate = 0.0
        self._service: tuple[float, float] = (0.0, 0.0)
        self._seen_s = 0.0
        self._busy = False
        self._at = 0.0
        self._before = 0.0
        self._new_s = 0.0
        self._new_work = 0.0

    @property
    def rate(self) -> float:
        """Work a second that is done while calls wait; 0 = not known."""
        return self._rate if self._seen_s >= TRUSTED_S else 0.0

    def waits(self, now: float) -> None:
        """A call waits where none did."""
        self._busy, self._at, self._before = True, now, self.served

    def empty(self, now: float) -> None:
        """No call waits any more."""
        self.look(now)
        self._busy = False

    def look(self, now: float) -> None:
        """What was done since the last look, while calls waited, teaches the rate.

        While nothing was, nothing is learned: calls may be long.
        """
        if not self._busy:
            return
        self._new_s += now - self._at
        self._new_work += self.served - self._before
        self._at, self._before = now, self.served
        elapsed, done = self._new_s, self._new_work
        if elapsed < EACH_S or done <= 0:
            return
        share = max(1 - exp(-elapsed / OVER_S), elapsed / (self._seen_s + elapsed))
        self._rate += share * (done / elapsed - self._rate)
        self._seen_s += elapsed
        self._new_s = self._new_work = 0.0

    def took(self, work: float, seconds: float) -> None:
        """A call of so much work had its first event after so many seconds at its engine."""
        share = SERVICE_SHARE if self._service[0] else 1.0
        whole, each = self._service
        self._service = (
            whole + share * (seconds - whole),
            each + share * (seconds / work - each),
        )

    def service_s(self, work: float) -> float:
        """The least that a call needs until its first event; 0 = not known.

        A call has a part that does not grow with its work, so a small one is taken at its work and
        a large one at the mean of all.
        """
        whole, each = self._service
        return min(whole, each * work)
