"""What a pick must know of each seat, kept as numbers side by side: a row is worked out again when
its engine changed, and not for each call.

The result is the same without this (`pick` says the rules, and asks every seat).  Most calls find
most engines as the call before found them: what is left to do for each is one line of arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from math import inf
from typing import Literal

from modgate.fleet.affinity import Homes
from modgate.fleet.drain import ahead
from modgate.fleet.pick import Passed
from modgate.fleet.slots import Seat
from modgate.fleet.terms import Phase, Terms

Odd = Literal[
    "ejected",
    "no_slot",  # none is free, or only one that is for where no engine has room
    "full",  # its cache, by its own word: it is compared, and not expected to be in time
    "unknown",  # its time is not to be said before the call is seen
]
OUT_OF_ORDER: frozenset[Odd] = frozenset({"ejected", "no_slot"})


class Table:
    """Of the seats of one shape of call, in one phase.

    `stale`: rows that must be looked at again; `due`: when some must, whatever happens.  `clear`:
    the rows are all that a pick needs.  `open`: the seats that get calls, `left_out`: some do not;
    `out`: those that are disqualified for a class.  `full`: the cache of one is.  `prefers`: not
    all are liked alike.
    """

    __slots__ = (
        *("_ahead", "_away", "_gaps", "_odd", "_out", "_paces", "_passed", "_phase", "_row"),
        *("_gets", "_serial", "_until", "_widest_s", "clear", "due", "full", "homes", "left_out"),
        *("open", "out", "prefers", "seats", "stale"),
    )

    def __init__(self, seats: Sequence[Seat], phase: Phase, *, serial: bool) -> None:
        many = len(seats)
        self.seats = seats
        self.prefers = any(seat.factor != 1 for seat in seats)
        self.homes = Homes(seats)
        self.stale = set(range(many))
        self.due = inf
        self.open: Sequence[Seat] = seats
        self.out: Sequence[Seat] = ()
        self.clear, self.full, self.left_out = True, False, False
        self._phase = phase
        self._serial = serial
        self._row = {seat: row for row, seat in enumerate(seats)}
        self._odd: list[Odd | None] = [None] * many
        self._out = [False] * many
        self._until: dict[int, float] = {}
        self._ahead = [0.0] * many
        self._paces = [0.0] * many
        self._away = [0.0] * many
        self._gaps = [0.0] * many
        self._widest_s = 0.0
        self._gets = [True] * many
        self._passed: Passed | None = None
        for row, seat in enumerate(seats):
            seat.slots.stir.watch(self.stale, row)
            if seat.group is not None:
                seat.group.stir.watch(self.stale, row)

    def look(self, now: float) -> None:
        """Work out again what is stale, or was true for so long only."""
        stale = self.stale
        if now >= self.due:
            stale.update([row for row, until in self._until.items() if now >= until])
        changed = False
        for row in stale:
            changed |= self._look_at(row, now)
        stale.clear()
        self._widest_s = max(self._gaps)
        if changed:
            self._sum_up()

    def _look_at(self, row: int, now: float) -> bool:
        """One row; whether it is of another kind than before."""
        seat = self.seats[row]
        slots, standing, said = seat.slots, seat.standing, seat.health.said
        slots.stir.looked = True
        if seat.group is not None:
            seat.group.stir.looked = True
        self._gaps[row] = standing.between_s
        odd = self._oddity(row, seat, now)
        if odd in OUT_OF_ORDER:
            self._away[row], self._paces[row], self._ahead[row] = inf, 0.0, 0.0
        else:
            lanes = 1 if self._serial else slots.limit
            load = 0.0
            if slots.taken + slots.elsewhere >= lanes or said.waiting:
                load = ahead(seat, 0.0, self._phase) / lanes
            self._ahead[row], self._paces[row] = load, standing.paces[self._phase].value
            self._away[row] = inf if odd == "full" else seat.away_s
        out = bool(standing.out)
        if odd == self._odd[row] and out == self._out[row]:
            return False
        self._odd[row], self._out[row] = odd, out
        return True

    def _oddity(self, row: int, seat: Seat, now: float) -> Odd | None:
        slots, health = seat.slots, seat.health
        taken, cap, said = slots.taken + slots.elsewhere, health.cap, health.said
        self._until.pop(row, None)
        if health.until > now:
            self._until[row] = health.until
            return "ejected"
        if taken >= slots.limit or (cap is not None and slots.taken >= cap) or not seat.free:
            return "no_slot"
        if said.waiting and not seat.standing.usual:
            return "unknown"
        return "full" if said.full else None

    def _sum_up(self) -> None:
        odd, seats = self._odd, self.seats
        self._gets = [each not in OUT_OF_ORDER for each in odd]
        self.left_out = False in self._gets
        self.open = list(compress(seats, self._gets)) if self.left_out else seats
        self.full = "full" in odd
        self.out = list(compress(seats, self._out)) if True in self._out else ()
        few = 2 * odd.count("ejected") > len(seats)
        self.clear = not few and "unknown" not in odd and bool(self.open)
        self.due = min(self._until.values(), default=inf)
        self._passed = None

    def predicted(self, work: float, between_s: float) -> list[float]:
        """At each seat the seconds of a call of this much work; `inf` where it gets none.

        `between_s`: of the gaps between its events, 0 = any.
        """
        found = [
            (work + load) * pace + away_s
            for load, pace, away_s in zip(self._ahead, self._paces, self._away, strict=True)
        ]
        if 0 < between_s < self._widest_s:
            for row, gap in enumerate(self._gaps):
                if gap > between_s:
                    found[row] = inf
        return found

    def steady(self, between_s: float) -> bool:
        """Whether all that get calls are expected to keep such gaps, and have room to remember."""
        return not self.full and not 0 < between_s < self._widest_s

    def row(self, seat: Seat) -> int:
        """Where a seat of its is."""
        return self._row[seat]

    def load(self, row: int, work: float) -> float:
        """The work that is done there when a call of so much is through."""
        return work + self._ahead[row]

    def of_open(self, predicted: Sequence[float]) -> Sequence[float]:
        """Of the predicted times, those of seats that get calls."""
        return list(compress(predicted, self._gets)) if self.left_out else predicted

    def passed(self) -> Passed:
        """By filter, the seats that it leaves."""
        if self._passed is not None:
            return self._passed
        kinds = zip(self.seats, self._odd, strict=True)
        live = [seat for seat, odd in kinds if odd != "ejected"]
        found: Passed = (
            ("passed_over", self.seats),
            ("ejected", live),
            ("no_slot", self.open),
            ("disqualified", self.open),
        )
        self._passed = found
        return found

    def trusts(self, terms: Terms) -> bool:
        """Whether none is disqualified for such a call."""
        return not self.out or not any(terms.barred(seat.standing.out) for seat in self.out)
