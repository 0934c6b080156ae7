"""How much work of one model comes and goes, and how much of it is done a second while calls wait.

Source: algorithms.md 2.2 (completed units a second while the queue is not empty).
"""

from __future__ import annotations

from modgate.fleet.rate import Service, WorkRate


class Tally:
    """Of one model.

    `offered`: work that was asked for, `served`: that was done, since the start; in the modality's
    weighted units.  `service`: until the first event of a call, at its engine.
    """

    __slots__ = ("_before", "_rate", "offered", "served", "service")

    def __init__(self) -> None:
        self.offered = 0.0
        self.served = 0.0
        self.service = Service()
        self._rate = WorkRate()
        self._before = 0.0

    @property
    def rate(self) -> float:
        """Work a second that is done while calls wait; 0 = not known."""
        return self._rate.value

    def waits(self, now: float) -> None:
        """A call waits where none did."""
        self._before = self.served
        self._rate.start(now)

    def empty(self, now: float) -> None:
        """No call waits any more."""
        self.look(now)
        self._rate.stop(now)

    def look(self, now: float) -> None:
        """What was done since the last look is learned."""
        self._rate.did(now, self.served - self._before)
        self._before = self.served
