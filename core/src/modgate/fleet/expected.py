"""How much of its bound a call really takes, by model: replies are shorter than they may be.

Source: algorithms.md 0 (E[o]), 1.5 (expected output is counted, and lightly).
"""

from __future__ import annotations

from collections.abc import Mapping

SHARE = 0.02
FEW = 50  # the first calls count in full


class Expected:
    """Of one model: `counts`, the mean of each unit by its full name."""

    __slots__ = ("_n", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}
        self._n = 0

    def learn(self, used: Mapping[str, int]) -> None:
        """A call took so much."""
        self._n += 1
        share = 1 / self._n if self._n < FEW else SHARE
        counts = self.counts
        for name, count in used.items():
            before = counts.get(name)
            counts[name] = float(count) if before is None else before + share * (count - before)
