"""Work a second, learned while there is something to do; and what a call takes by its work."""

from __future__ import annotations

from math import exp

OVER_S = 10.0
EACH_S = 0.25
TRUSTED_S = 1.0
SHARE = 0.02
FEW = 50  # the first calls count in full


class WorkRate:
    """What is done a second; only time counts in which there was something to do."""

    __slots__ = ("_at", "_new_s", "_new_work", "_runs", "_seen_s", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._seen_s = 0.0
        self._at = 0.0
        self._new_s = 0.0
        self._new_work = 0.0
        self._runs = False

    @property
    def value(self) -> float:
        """Work a second; 0 = not known yet."""
        return self._value if self._seen_s >= TRUSTED_S else 0.0

    def start(self, now: float) -> None:
        """From now on there is something to do."""
        self._runs, self._at = True, now

    def stop(self, now: float) -> None:
        """There is nothing to do any more."""
        self.did(now, 0.0)
        self._runs = False

    def did(self, now: float, work: float) -> None:
        """So much was done since the last time.

        While nothing is done nothing is learned: calls may be long.
        """
        if not self._runs:
            return
        self._new_s += now - self._at
        self._new_work += work
        self._at = now
        elapsed = self._new_s
        if elapsed < EACH_S or self._new_work <= 0:
            return
        share = max(1 - exp(-elapsed / OVER_S), elapsed / (self._seen_s + elapsed))
        self._value += share * (self._new_work / elapsed - self._value)
        self._seen_s += elapsed
        self._new_s = self._new_work = 0.0


class Service:
    """Seconds by work, as a straight line through what calls took: `base + each * work`."""

    __slots__ = ("_both", "_n", "_seconds", "_square", "_work")

    def __init__(self) -> None:
        self._n = 0
        self._work = self._seconds = 0.0  # means
        self._square = self._both = 0.0  # of deviations

    def took(self, work: float, seconds: float) -> None:
        """A call of so much work took so long."""
        self._n += 1
        share = max(SHARE, 1 / min(self._n, FEW))
        by = work - self._work
        self._work += share * by
        self._both += share * (by * (seconds - self._seconds) * (1 - share) - self._both)
        self._square += share * (by * by * (1 - share) - self._square)
        self._seconds += share * (seconds - self._seconds)

    def seconds(self, work: float) -> float:
        """Of a call of so much work; 0 = not known.

        The line neither falls nor begins below zero.  While all calls were of one size, a smaller
        one is taken to need less, and a larger one no more.
        """
        if not self._seconds:
            return 0.0
        steepest = self._seconds / self._work
        if self._square <= 0:
            return min(self._seconds, steepest * work)
        each = min(max(self._both / self._square, 0.0), steepest)
        return self._seconds + each * (work - self._work)
