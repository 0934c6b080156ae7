"""How much of its bound a call really takes, by model: replies are shorter than they may be.

Source: algorithms.md 0 (E[o]), 1.5 (expected output is counted, and lightly).
"""

from __future__ import annotations

from collections.abc import Mapping

from modgate.units import Units

SHARE = 0.02
FEW = 50  # the first calls count in full


class Expected:
    """Of one model: the mean of each unit, by its full name."""

    __slots__ = ("_counts", "_n")

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}
        self._n = 0

    def learn(self, used: Mapping[str, int]) -> None:
        """A call took so much."""
        self._n += 1
        share = max(SHARE, 1 / min(self._n, FEW))
        for name, count in used.items():
            before = self._counts.get(name, float(count))
            self._counts[name] = before + share * (count - before)

    def of(self, size: Units, learned: Mapping[str, str]) -> Units:
        """The size that is expected of a call that may be so large.

        `learned`: full names of the units that are only bounded, by their short one.
        """
        found = dict(size.items())
        for name, full in learned.items():
            seen = self._counts.get(full)
            if seen is not None and seen < found.get(name, 0):
                found[name] = int(seen)
        return Units(found, size.modality)
