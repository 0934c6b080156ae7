"""How many, and how many of them badly, in the last minute: what decisions are made by.

Source: algorithms.md 1.1 (two whole numbers a slot), Appendix B (`wilson`).
"""

from __future__ import annotations

from math import sqrt

SLOTS = 6
SLOT_S = 10.0


class Counters:
    """A ring of six slots of ten seconds.

    `n` and `bad` are its sums as of the last look; `seen` and `seen_bad` never fall, so that others
    may add what they have not heard of yet.  Counters of several gateways merge by addition.
    """

    __slots__ = ("_bad", "_n", "_slot", "_until", "bad", "n", "seen", "seen_bad")

    def __init__(self) -> None:
        self._n = [0] * SLOTS
        self._bad = [0] * SLOTS
        self._slot = 0
        self._until = SLOT_S
        self.n = self.bad = 0
        self.seen = self.seen_bad = 0

    def add(self, now: float, n: int, bad: int) -> None:
        """So many more, of which so many were bad."""
        self.seen += n
        self.seen_bad += bad
        if now >= self._until:
            self.look(now)
        at = self._slot % SLOTS
        self._n[at] += n
        self.n += n
        if bad:
            self._bad[at] += bad
            self.bad += bad

    def heard(self, now: float, n: int, bad: int) -> None:
        """What another gateway saw: it counts here, and is not told on."""
        self.look(now)
        at = self._slot % SLOTS
        self._n[at] += n
        self._bad[at] += bad
        self.n += n
        self.bad += bad

    def look(self, now: float) -> None:
        """Let go of what is older than the window; a clock that went back changes nothing."""
        slot = int(now / SLOT_S)
        behind = slot - self._slot
        if behind <= 0:
            return
        if behind >= SLOTS:
            self.clear()
        for old in range(self._slot + 1, self._slot + 1 + min(behind, SLOTS)):
            at = old % SLOTS
            self.n -= self._n[at]
            self.bad -= self._bad[at]
            self._n[at] = self._bad[at] = 0
        self._slot = slot
        self._until = (slot + 1) * SLOT_S

    def clear(self) -> None:
        """Begin anew; what was seen in all stays."""
        self._n = [0] * SLOTS
        self._bad = [0] * SLOTS
        self.n = self.bad = 0


def wilson(bad: int, n: int, z: float) -> tuple[float, float]:
    """The bounds of a share of which `bad` of `n` were seen; `n` > 0."""
    share = bad / n
    scale = 1 + z * z / n
    middle = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / scale, (middle + half) / scale
