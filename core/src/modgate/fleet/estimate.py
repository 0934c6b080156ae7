"""How fast an engine is: seconds a unit of work, learned from every attempt.

Source: algorithms.md 1.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp

UP, DOWN = 0.2, 0.1
IDLE_S = 60.0


class Estimate:
    """Seconds a unit of work in one phase of one engine and model; 0 = nobody knows yet.

    `own`: learned here.  `value`: the median of that and of what others learned, by which
    predictions are made.  A gateway that met a queue at its first call to an engine sends no more
    there, and would believe for a minute in a pace that is wrong by ten times.
    """

    def __init__(self) -> None:
        self.own = 0.0
        self.value = 0.0
        self.at = 0.0
        self._peers: tuple[float, ...] = ()

    def suppose(self, prior: float) -> None:
        """Until something is known."""
        if not self.own and not self._peers:
            self.value = prior

    def learn(self, now: float, seconds: float) -> None:
        """An attempt took so long a unit; worse news counts twice as much as better ones."""
        if self.own:
            share = UP if seconds > self.own else DOWN
            self.own += share * (seconds - self.own)
        else:
            self.own = seconds
        self.at = now
        self._agree()

    def heard(self, peers: Iterable[float]) -> None:
        """What other gateways know, each one's; those that know nothing are left out."""
        told = tuple([each for each in peers if each > 0])
        if told != self._peers:
            self._peers = told
            if self.own or told:
                self._agree()

    def relax(self, now: float, prior: float, elapsed_s: float) -> None:
        """What was learned long ago is less and less believed; asked each `elapsed_s`."""
        if self.own and now - self.at > IDLE_S and prior > 0:
            self.own = prior + (self.own - prior) * exp(-elapsed_s / IDLE_S)
            self._agree()

    def _agree(self) -> None:
        if self._peers:
            known = sorted((self.own, *self._peers) if self.own else self._peers)
            many = len(known)
            self.value = (known[(many - 1) // 2] + known[many // 2]) / 2
        else:
            self.value = self.own
