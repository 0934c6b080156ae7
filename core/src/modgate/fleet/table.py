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
from modgate.fleet.sieve import PANIC, to_explore
from modgate.fleet.slots import Seat
from modgate.fleet.standing import NONE_OUT
from modgate.fleet.terms import Out, Phase, Terms

Odd = Literal[
    "ejected",
    "no_slot",  # none is free, or only one that is for where no engine has room
    "full",  # its cache, by its own word: it is compared, and not expected to be in time
    "unknown",  # its time is not to be said before the call is seen
]
KEYS_AT_MOST = 1024
OUT_OF_ORDER: frozenset[Odd] = frozenset({"ejected", "no_slot"})


class OpenSeats:
    """Those of all seats that get calls of a class: `gets`, row by row, and `seats`.

    `live`: those that answer, `free`: of these, those that have room.  `every`: all do.
    """

    __slots__ = ("_all", "every", "free", "gets", "live", "seats")

    def __init__(
        self,
        gets: Sequence[bool],
        seats: Sequence[Seat],
        live: Sequence[Seat],
        free: Sequence[Seat],
        good: Sequence[Seat],
    ) -> None:
        self._all = seats
        self.gets = gets
        self.live = live
        self.free = free
        self.seats = good
        self.every = len(good) == len(seats)

    def of(self, predicted: Sequence[float]) -> Sequence[float]:
        """Of the predicted times, theirs."""
        return predicted if self.every else list(compress(predicted, self.gets))

    def passed(self, fit: Sequence[Seat]) -> Passed:
        """By filter, the seats that it leaves."""
        return (
            ("passed_over", self._all),
            ("ejected", self.live),
            ("no_slot", self.free),
            ("disqualified", self.seats),
            ("fit", fit),
        )


class SeatTable:
    """Of the candidates of one kind of call, in one phase.

    `stale`: rows that must be looked at again; `due`: when some must, whatever happens.  `clear`:
    the rows are all that a pick needs.  `prefers`: not all seats are liked alike.
    """

    __slots__ = (
        *("_ahead", "_away", "_classes", "_full", "_gaps", "_homes", "_known", "_odd", "_open"),
        *("_out", "_paces", "_phase", "_rates", "_row", "_serial", "_trusts_all", "_until"),
        *("_widest_s", "clear", "due", "prefers", "seats", "stale"),
    )

    def __init__(self, seats: Sequence[Seat], phase: Phase, *, serial: bool) -> None:
        many = len(seats)
        self.seats = seats
        self.prefers = any(seat.factor != 1 for seat in seats)
        self._homes = Homes(seats)
        self._known: dict[int, Sequence[int]] = {}
        self.stale = set(range(many))
        self.due = inf
        self.clear = True
        self._full = False
        self._trusts_all = True
        self._open = OpenSeats([True] * many, seats, seats, seats, seats)
        self._classes: dict[tuple[str, bool], OpenSeats] = {}
        self._phase = phase
        self._serial = serial
        self._row = {seat: row for row, seat in enumerate(seats)}
        self._odd: list[Odd | None] = [None] * many
        self._out: list[Out] = [NONE_OUT] * many
        self._until: dict[int, float] = {}
        self._ahead = [0.0] * many
        self._paces = [0.0] * many
        self._away = [0.0] * many
        self._gaps = [0.0] * many
        self._widest_s = 0.0
        self._rates = [0.0] * many
        for row, seat in enumerate(seats):
            seat.slots.changes.watch(self.stale, row)
            if seat.group is not None:
                seat.group.changes.watch(self.stale, row)

    def look(self, now: float) -> None:
        """Work out again what is stale, or was true for so long only."""
        stale = self.stale
        if now >= self.due:
            stale.update([row for row, until in self._until.items() if now >= until])
        changed = False
        for row in stale:
            if self._look_at(row, now):
                changed = True
        stale.clear()
        if self._until or now >= self.due:
            self.due = min(self._until.values(), default=inf)
        if changed:
            self._sum_up()

    def _look_at(self, row: int, now: float) -> bool:
        """One row; whether it is of another kind than before."""
        seat = self.seats[row]
        slots, standing, reported = seat.slots, seat.standing, seat.health.reported
        slots.changes.looked = True
        if seat.group is not None:
            seat.group.changes.looked = True
        if standing.between_s != self._gaps[row]:
            self._gaps[row] = standing.between_s
            self._widest_s = max(self._gaps)
        odd = self._oddity(row, seat, now)
        self._paces[row] = pace = standing.paces[self._phase].value
        load = 0.0
        if odd not in OUT_OF_ORDER:
            lanes = 1 if self._serial else slots.limit
            if slots.taken + slots.elsewhere >= lanes or reported.waiting:
                load = ahead(seat, 0.0, self._phase) / lanes
        self._ahead[row] = load
        self._away[row] = seat.away_s if odd is None else inf
        self._rates[row] = 1 / pace if pace > 0 and odd != "ejected" else 0.0
        out = standing.out
        if odd == self._odd[row] and out == self._out[row]:
            return False
        self._odd[row], self._out[row] = odd, out
        return True

    def _oddity(self, row: int, seat: Seat, now: float) -> Odd | None:
        slots, health = seat.slots, seat.health
        taken, cap, reported = slots.taken + slots.elsewhere, health.cap, health.reported
        if row in self._until:
            del self._until[row]
        if health.until > now:
            self._until[row] = health.until
            return "ejected"
        if taken >= slots.limit or (cap is not None and slots.taken >= cap) or not seat.free:
            return "no_slot"
        if reported.waiting and not seat.standing.usual:
            return "unknown"
        return "full" if reported.full else None

    def _sum_up(self) -> None:
        odd, seats = self._odd, self.seats
        gets = [each not in OUT_OF_ORDER for each in odd]
        free = list(compress(seats, gets)) if False in gets else seats
        live = [seat for seat, each in zip(seats, odd, strict=True) if each != "ejected"]
        self._open = OpenSeats(gets, seats, live, free, free)
        self._classes = {}
        self._trusts_all = not any(self._out)
        self._full = "full" in odd
        self.clear = bool(free) and 2 * len(live) >= len(seats) and "unknown" not in odd

    def open_to(self, terms: Terms, now: float) -> OpenSeats | None:
        """Who gets a call on these terms now; None: the rows are not all that must be known."""
        if self.stale or now >= self.due:
            self.look(now)
        if not self.clear:
            return None
        return self._open if self._trusts_all else self._trusted(terms, now)

    def _trusted(self, terms: Terms, now: float) -> OpenSeats | None:
        """See `sieve.qualified`; who is due to be tried is left to the long way."""
        every, judged = self._open, (terms.slo, terms.between_s > 0)
        found = self._classes.get(judged)
        if found is None:
            gets = [
                g and not terms.barred(s.standing.out)
                for g, s in zip(every.gets, self.seats, strict=True)
            ]
            good = list(compress(self.seats, gets))
            found = self._classes[judged] = OpenSeats(
                gets, self.seats, every.live, every.free, good
            )
        if len(found.seats) == len(every.seats):
            return every
        if to_explore(every.free, terms, now) is not None:
            return None
        weight, whole = sum(compress(self._rates, found.gets)), sum(self._rates)
        return every if not found.seats or weight < PANIC * whole else found

    def predicted(self, work: float, between_s: float, open_: OpenSeats) -> list[float]:
        """At each seat the seconds of a call of this much work; `inf` where it gets none.

        `between_s`: of the gaps between its events, 0 = any.
        """
        found = [
            (work + load) * pace + away_s
            for load, pace, away_s in zip(self._ahead, self._paces, self._away, strict=True)
        ]
        if open_ is not self._open:
            found = [each if gets else inf for each, gets in zip(found, open_.gets, strict=True)]
        if 0 < between_s < self._widest_s:
            gaps = zip(found, self._gaps, strict=True)
            found = [each if gap <= between_s else inf for each, gap in gaps]
        return found

    def steady(self, between_s: float) -> bool:
        """Whether all that get calls are expected to keep such gaps, and have room to remember."""
        return not self._full and not 0 < between_s < self._widest_s

    def homes(self, key: int) -> Sequence[int]:
        """The rows of a key's homes, best first; of the keys that came lately they are known."""
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= KEYS_AT_MOST:
                self._known.clear()
            found = self._known[key] = [self._row[seat] for seat in self._homes.of(key)]
        return found

    def row(self, seat: Seat) -> int:
        """Where a seat of its is."""
        return self._row[seat]

    def load(self, row: int, work: float) -> float:
        """The work that is done there when a call of so much is through."""
        return work + self._ahead[row]
