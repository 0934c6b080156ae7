"""Whether an engine keeps what is predicted of it.

What is counted are broken promises: calls of which the gateway was sure, and that were late all
the same.  Load that we cause is in the prediction and counts against nobody; what it cannot see
(stalls, throttling, strangers' load) does.

Source: algorithms.md 1.3.
"""

from __future__ import annotations

from modgate.fleet.counters import Counters, wilson

SURE = 0.8  # of the target: a prediction up to here is a promise
SAMPLES, FRESH = 20, 8
BROKEN_LEAST = 3  # of an objective of 0.99, one in twenty is more than it allows, and an accident
LEAVES_Z, RETURNS_Z, RETURNS_BELOW = 1.645, 1.0, 0.30
DWELL_S, DWELL_AT_MOST_S, FLAP_S = 20.0, 300.0, 600.0
EXPLORE_S = 5.0


class PromiseRecord:
    """The promises of the last minute, of one engine, model, SLO class and phase; and what follows.

    `all`: every judged call, for people.  `promised`: the calls of which the gateway was sure.
    `fresh`: calls in a row that were in time since it was disqualified; counted apart, because a
    minute may hold fewer of them than it takes to return.
    """

    __slots__ = ("all", "dwell_s", "explored_at", "fresh", "left_at", "out", "promised")

    def __init__(self) -> None:
        self.all = Counters()
        self.promised = Counters()
        self.out = False
        self.fresh = 0
        self.dwell_s = DWELL_S
        self.left_at = float("-inf")
        self.explored_at = float("-inf")

    def judge(self, now: float, *, predicted: float, ratio: float) -> None:
        """A phase took `ratio` of its target, and `predicted` of it was predicted."""
        late = int(ratio > 1)
        self.all.add(now, 1, late)
        if predicted <= SURE:
            self.promised.add(now, 1, late)
        if self.out:
            self.fresh = 0 if late else self.fresh + 1

    def breaks(self, now: float, allowed: float) -> bool:
        """Whether it surely breaks more than the allowed share."""
        record = self.promised
        record.look(now)
        if record.n < SAMPLES or record.bad < BROKEN_LEAST:
            return False
        return wilson(record.bad, record.n, LEAVES_Z)[0] > allowed

    def leave(self, now: float) -> None:
        """It is disqualified, for longer if it was a short while ago."""
        flaps = now - self.left_at < FLAP_S
        self.dwell_s = min(DWELL_AT_MOST_S, self.dwell_s * 2) if flaps else DWELL_S
        self.out, self.left_at, self.explored_at, self.fresh = True, now, now, 0
        self.promised.clear()

    def dwelt(self, now: float) -> bool:
        """Whether it was out for as long as it must be."""
        return now - self.left_at >= self.dwell_s

    def recovered(self, now: float, allowed: float) -> bool:
        """Whether fresh calls show that it keeps its promises again."""
        if self.fresh >= FRESH:
            return True
        record = self.promised
        record.look(now)
        return (
            record.n >= FRESH
            and record.bad <= allowed * record.n
            and wilson(record.bad, record.n, RETURNS_Z)[1] < RETURNS_BELOW
        )

    def forgettable(self, now: float) -> bool:
        """Whether it says no more than a new one would, or is of a class that nobody asks for."""
        for each in (self.all, self.promised):
            each.look(now)
        asked_at = max(self.left_at, self.explored_at)
        return not (self.all.n or self.promised.n) and now - asked_at >= FLAP_S

    def come_back(self) -> None:
        """It is qualified again."""
        self.out = False
        self.promised.clear()
