"""Which backends are preferred among those that keep the promise.

A preference multiplies the predicted time, so it decides between engines that are about as good,
and never sends a call to one that will be late.

Source: algorithms.md 1.4 step 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modgate.api.select import Backend

ELSEWHERE = 1.25
PER_RANK = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """`region`: this gateway's own, which is nearer.  `hardware`: classes, the dearest to us first.

    `cost`: how much price counts, 0 = not at all, 1 = twice the price is as bad as twice the time.
    `prices`: of an hour of a backend, by name, where it is known.  `away`: by region, seconds of
    the way there and back, which are part of a predicted time and no preference.
    """

    region: str = ""
    hardware: tuple[str, ...] = ()
    cost: float = 0.0
    prices: Mapping[str, float] = field(default_factory=dict)
    away: Mapping[str, float] = field(default_factory=dict)

    def factors(self, backends: Sequence[Backend]) -> dict[str, float]:
        """What each backend's predicted time is multiplied by, by name."""
        cheapest = min((price for price in self.prices.values() if price > 0), default=0.0)
        return {backend.name: self._factor(backend, cheapest) for backend in backends}

    def _factor(self, backend: Backend, cheapest: float) -> float:
        factor = 1.0
        if self.region and backend.region != self.region:
            factor *= ELSEWHERE
        if self.hardware:
            known = backend.hardware in self.hardware
            rank = self.hardware.index(backend.hardware) if known else len(self.hardware)
            factor *= PER_RANK**rank
        price = self.prices.get(backend.name, 0.0)
        if self.cost and price > 0:
            factor *= (price / cheapest) ** self.cost
        return float(factor)
