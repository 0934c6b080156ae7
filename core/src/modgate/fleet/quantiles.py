"""Quantiles of times in the last minute, for people to look at: nothing is decided by them.

Source: algorithms.md 1.1 (log buckets; a value is wrong by at most 1.96 %).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import log, sqrt

GROWTH = 1.04
LEAST_S = 1e-4
BUCKETS = 360  # up to about 130 s; the last one holds all that is longer
SLOTS = 6
SLOT_S = 10.0
PER_BUCKET = 1 / log(GROWTH)


class Quantiles:
    """A ring of six slots of ten seconds of 360 buckets, about 10 kB; rings merge by addition."""

    __slots__ = ("_slot", "_slots", "_sums", "_until", "n")

    def __init__(self) -> None:
        self._slots = [array("I", bytes(4 * BUCKETS)) for _ in range(SLOTS)]
        self._sums = array("I", bytes(4 * BUCKETS))
        self._slot = 0
        self._until = SLOT_S
        self.n = 0

    def add(self, now: float, seconds: float) -> None:
        """One time."""
        if now >= self._until:
            self.look(now)
        at = int(log(seconds / LEAST_S) * PER_BUCKET) + 1 if seconds > LEAST_S else 0
        if at >= BUCKETS:
            at = BUCKETS - 1
        self._slots[self._slot % SLOTS][at] += 1
        self._sums[at] += 1
        self.n += 1

    def look(self, now: float) -> None:
        """Let go of what is older than the window."""
        slot = int(now / SLOT_S)
        behind = slot - self._slot
        if behind <= 0:
            return
        for old in range(slot - min(behind, SLOTS) + 1, slot + 1):
            gone = self._slots[old % SLOTS]
            if any(gone):
                for at, count in enumerate(gone):
                    self._sums[at] -= count
                self.n -= sum(gone)
                self._slots[old % SLOTS] = array("I", bytes(4 * BUCKETS))
        self._slot = slot
        self._until = (slot + 1) * SLOT_S

    def at(self, shares: Iterable[float], now: float) -> list[float]:
        """The quantiles of these shares, ascending; 0 where there is nothing."""
        self.look(now)
        found, seen, at = [], 0, -1
        for share in shares:
            rank = min(self.n, int(share * self.n) + 1)
            while seen < rank:
                at += 1
                seen += self._sums[at]
            found.append(_middle(at) if self.n else 0.0)
        return found


def _middle(at: int) -> float:
    """The value that is as wrong at one end of a bucket as at the other."""
    return LEAST_S if at <= 0 else float(LEAST_S * GROWTH ** (at - 1) * sqrt(GROWTH))
