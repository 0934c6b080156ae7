"""How long to leave alone what failed."""

from __future__ import annotations

import random
from dataclasses import dataclass

LEAST_S, MOST_S = 0.25, 30.0


@dataclass(slots=True, eq=False)
class Backoff:
    """Doubling waits with full jitter, so that many gateways do not come back at once.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    rng: random.Random
    least_s: float = LEAST_S
    most_s: float = MOST_S
    failures: int = 0

    def failed(self) -> float:
        """Seconds to wait after one more failure; never less than a quarter of the least."""
        ceiling_s = min(self.most_s, self.least_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return max(self.least_s / 4, self.rng.uniform(0.0, ceiling_s))

    def succeeded(self) -> None:
        """It works again."""
        self.failures = 0
