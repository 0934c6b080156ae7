"""How many calls an engine is given at once, by what its calls took of what is promised.

More calls at once make each slower: an engine is given fewer while too many of them are late, and
more again while few are and it could use them.  What is judged is a call's time as a share of its
target, never seconds, so a long prompt is no sign of congestion.

Source: algorithms.md 2.4 (start, samples, 0.30, 0.15, 0.9, +1) and Appendix B (`aimd_tick`).
"""

from __future__ import annotations

FLOOR = 4
EACH_S = 1.0
SAMPLES = 5
TOO_MANY, FEW = 0.30, 0.15
LESS = 0.9
IN_USE = 0.8
HOPELESS = 20  # looks at the floor that found too many late: fewer calls at once do not help
REST_S, REST_AT_MOST_S = 120.0, 1800.0


class Concurrency:
    """One engine's.

    `limit`: calls at once now, from `declared` up to `most`, down to the floor or what was declared
    if that is less.
    """

    __slots__ = (
        "_bad",
        "_done",
        "_hopeless",
        "_next",
        "_peak",
        "_rest_s",
        "declared",
        "limit",
        "most",
    )

    def __init__(self, declared: int, most: int) -> None:
        self.declared = self.limit = declared
        self.most = max(declared, most)
        self._next = 0.0
        self._done = self._bad = self._peak = 0
        self._hopeless = 0
        self._rest_s = REST_S

    @property
    def floor(self) -> int:
        """It is never given fewer."""
        return min(FLOOR, self.declared)

    def saw(self, now: float, *, late: bool, at_once: int) -> int:
        """A call ended that had been one of so many; the limit from now on."""
        self._done += 1
        self._bad += late
        self._peak = max(self._peak, at_once)
        if now >= self._next and self._done >= SAMPLES:
            self._look(now)
            self._next = max(self._next, now + EACH_S)
            self._done = self._bad = self._peak = 0
        return self.limit

    def _look(self, now: float) -> None:
        share = self._bad / self._done
        if share > TOO_MANY:
            if self.limit == self.floor:
                self._despair(now)
            else:
                self.limit = max(self.floor, int(self.limit * LESS))
        elif share <= FEW:
            self._hopeless, self._rest_s = 0, REST_S
            if self._peak >= IN_USE * self.limit:
                self.limit = min(self.most, self.limit + 1)

    def _despair(self, now: float) -> None:
        """Calls are late even with the fewest at once, so that is not why: after some such looks go
        back to what was declared, and rest."""
        self._hopeless += 1
        if self._hopeless < HOPELESS:
            return
        self._hopeless, self.limit, self._next = 0, self.declared, now + self._rest_s
        self._rest_s = min(2 * self._rest_s, REST_AT_MOST_S)


class Watch:
    """One call's times as shares of its targets, where no promise is made of it.

    `first_s`: of its first event, or of the whole; `between_s`: of the gaps after it, 0 = none.
    """

    __slots__ = ("_began", "_between_s", "_first", "_target_s", "_whole")

    def __init__(self, now: float, *, whole: bool, target_s: float, between_s: float) -> None:
        self._began = now
        self._whole = whole
        self._target_s = target_s
        self._between_s = between_s
        self._first = -1.0

    def first(self, now: float) -> None:
        """Its first event came."""
        if self._first < 0:
            self._first = now

    def late(self, now: float, events: int, unread_s: float = 0.0) -> bool:
        """Whether it was, in any of its phases; it ended now.  `unread_s`: see `Promise.end`."""
        first = now if self._whole or self._first < 0 else self._first
        if first - self._began > self._target_s:
            return True
        return 0 < self._between_s * (events - 1) < now - first - unread_s
