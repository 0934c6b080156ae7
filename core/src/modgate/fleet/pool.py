"""The backends of one model: who takes a call, and who is not trusted with one for now.

Source: algorithms.md 1.3 (headroom, return), 1.2 (priors).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from statistics import median

from modgate.fleet.panel import Panel
from modgate.fleet.pick import LOOKED_AT, Choice, Factors, Wanted, candidates, idlest, pick
from modgate.fleet.pool_state import PoolState
from modgate.fleet.promise_record import PromiseRecord
from modgate.fleet.quick import quick
from modgate.fleet.rng import Rng
from modgate.fleet.sieve import capacity, explored
from modgate.fleet.slots import Seat
from modgate.fleet.table import SeatTable
from modgate.fleet.terms import Phase, Promised, Terms

HEADROOM = 0.7
OFFERED_S = 10.0
EASY = 0.25  # of their targets is what calls are predicted to take where there is room to spare
EASES = 0.02
ALIKE = 0.5  # how much of what is sent from here others send, too, before they tell of it
SWEEP_S = 1.0
POOL_STATE_S = 0.01  # a storm of calls that find no slot looks at the seats once in so long
SUPPOSED = 0.5  # of its target is what a call takes, as long as nothing is known
ELIGIBLE_AT_MOST = 64  # kinds of calls, of which the pool keeps who may take them


Eligibility = tuple[frozenset[str] | None, tuple[tuple[str, str], ...]]


def eligibility_of(wanted: Wanted) -> Eligibility:
    """All that decides which seats may ever take a call."""
    return wanted.regions, wanted.requires


class Pool:
    """The seats of one model in one snapshot.

    `exact`: no other gateway sends to these engines, so what they have in hand is known.  Where
    others do, it is known a moment late only; then a pick compares a sample and not all, or all
    gateways would choose the same engine.  `others`: how many gateways tell what they do;
    `elsewhere`: units of work a second that were asked of those.  `panel`: the operator's filters
    and scorers, if any.  `lately`: how the seats stood at the last sweep, for `modgate explain`.
    """

    __slots__ = (
        "_asked",
        "_calls",
        "_ease",
        "_eligible",
        "_offered",
        "_pool_state",
        "_swept",
        "_tables",
        "_terms",
        "elsewhere",
        "exact",
        "lately",
        "others",
        "panel",
        "seats",
    )

    def __init__(
        self, seats: Sequence[Seat], *, exact: bool = True, panel: Panel | None = None
    ) -> None:
        self.seats = seats
        self.exact = exact
        self.panel = panel
        self.elsewhere = 0.0
        self.others = 0
        self.lately: PoolState | None = None
        self._pool_state: PoolState | None = None
        self._ease = 0.0
        self._offered = 0.0
        self._asked = 0.0
        self._calls = 0
        self._swept = -OFFERED_S
        self._terms: dict[tuple[str, Phase, bool], Terms] = {}
        self._eligible: dict[Eligibility, Sequence[Seat]] = {}
        self._tables: dict[tuple[int, Phase, bool], SeatTable] = {}

    def candidates(self, wanted: Wanted) -> Sequence[Seat]:
        """See `pick.candidates`; kept, because calls of one kind have the same ones."""
        if wanted.tried:
            return candidates(self.seats, wanted)
        kind = eligibility_of(wanted)
        found = self._eligible.get(kind)
        if found is None:
            if len(self._eligible) >= ELIGIBLE_AT_MOST:
                self._eligible.clear()
                self._tables.clear()
            found = candidates(self.seats, wanted)
            if len(found) == len(self.seats):
                found = self.seats
            self._eligible[kind] = found
        return found

    def _table(self, seats: Sequence[Seat], wanted: Wanted, terms: Terms) -> SeatTable | None:
        """What is known of these seats, kept; None where they are not a kind's candidates."""
        key = (id(seats), terms.phase, terms.serial)
        found = self._tables.get(key)
        if found is None:
            kept = seats is self.seats or seats is self._eligible.get(eligibility_of(wanted))
            if not kept or not 1 < len(seats) <= LOOKED_AT:
                return None
            found = self._tables[key] = SeatTable(seats, terms.phase, serial=terms.serial)
        return found

    def choose(self, seats: Sequence[Seat], wanted: Wanted, now: float, rng: Rng) -> Choice | None:
        """Choose one of these seats, which are `candidates` of the call; None = none is free."""
        terms = wanted.terms
        if terms is None:
            seat = idlest(seats, wanted.work, rng)
            return Choice(seat, wanted.work, 0.0, "fit") if seat is not None else None
        if now - self._swept >= SWEEP_S:
            self.sweep(now)
        if (terms.slo, terms.phase, terms.between_s > 0) not in self._terms:
            self._suppose(wanted.work, terms)
        if self.panel is None:
            found = self._pick(seats, wanted, terms, now, rng, None)
        else:
            found = self._advised(self.panel, seats, wanted, terms, now, rng)
        if found is not None:
            self._asked += wanted.work
            self._calls += 1
            if self.others:
                standing = found.seat.standing
                standing.sent += wanted.work
                standing.heard(standing.elsewhere + wanted.work * self.others * ALIKE)
            found.lately = self.lately
            predicted = found.predicted
            self._ease += EASES * ((predicted if predicted < 1 else 1.0) - self._ease)
            if found.why == "explore":
                explored(found.seat, terms, now)
        return found

    def _advised(
        self,
        panel: Panel,
        seats: Sequence[Seat],
        wanted: Wanted,
        terms: Terms,
        now: float,
        rng: Rng,
    ) -> Choice | None:
        """The pick with filters and scorers, which are not asked where nothing is free."""
        if not seats[0].free and not any(seat.free for seat in seats):
            return None
        advice = panel.on(wanted, terms, now)
        kept = advice.kept(seats)
        found = self._pick(kept, wanted, terms, now, rng, advice.factors)
        if found is not None:
            found.liked = advice.liked
            if len(kept) < len(seats):
                found.passed = (("filtered", kept), *found.passed)
        return found

    def _pick(
        self,
        seats: Sequence[Seat],
        wanted: Wanted,
        terms: Terms,
        now: float,
        rng: Rng,
        factors: Factors | None,
    ) -> Choice | None:
        work, exact = wanted.work, self.exact
        table = self._table(seats, wanted, terms)
        return quick(seats, table, work, terms, now, rng, exact, factors) or pick(
            seats, work, terms, now=now, rng=rng, exact=exact, factors=factors
        )

    def _look(self, now: float) -> PoolState:
        return PoolState.of(self.seats, now, others=self.others, exact=self.exact)

    def pool_state(self, now: float) -> PoolState:
        """How the seats stand, at most POOL_STATE_S old."""
        if self._pool_state is None or now - self._pool_state.at >= POOL_STATE_S:
            self._pool_state = self._look(now)
        return self._pool_state

    def follow(self, other: Pool, now: float) -> None:
        """Take the place of the other, and its record of what was asked of it.

        Without that there would always seem to be room for the first ten seconds.
        """
        self._ease, self._offered, self._swept = other._ease, other._offered, other._swept
        self._asked, self._calls = other._asked, other._calls
        self.lately = self._look(now) if other.lately is not None else None

    def offered(self, now: float) -> float:
        """Units of work a second that calls asked of it lately."""
        share = 1 - exp((self._swept - now) / OFFERED_S)
        elapsed = max(now - self._swept, 1e-9)
        return self._offered + share * (self._asked / elapsed - self._offered)

    def _suppose(self, work: float, terms: Terms) -> None:
        """At the first call of a class and phase, suppose that engines of unknown pace will be in
        time."""
        self._terms[terms.slo, terms.phase, terms.between_s > 0] = terms
        self._priors(terms.phase, SUPPOSED * terms.target_s / max(work, 1e-9))

    def _priors(self, phase: Phase, otherwise: float) -> float:
        """Give engines of unknown pace the median of the others, and return it."""
        paces = [seat.standing.paces[phase] for seat in self.seats]
        known = [pace.own for pace in paces if pace.own > 0]
        prior = median(known) if known else otherwise
        if prior > 0:
            for seat, pace in zip(self.seats, paces, strict=True):
                pace.suppose(prior)
                seat.slots.changes.tell()
        return prior

    def sweep(self, now: float) -> None:
        """Each second: let old knowledge fade, and look at who keeps its promises."""
        elapsed = min(now - self._swept, OFFERED_S)
        usual = self._asked / self._calls if self._calls else 0.0
        self._offered, self._asked, self._calls, self._swept = self.offered(now), 0.0, 0, now
        for seat in self.seats:
            seat.standing.usual = usual or seat.standing.usual
            seat.health.fade(now)
            for stream in tuple(seat.standing.open):
                stream.look(now)
        if self.panel is not None:
            self.panel.look(self.seats, now)
        for phase in {phase for _, phase, _ in self._terms}:
            prior = self._priors(phase, 0.0)
            for seat in self.seats:
                seat.standing.paces[phase].relax(now, prior, elapsed)
        for terms in self._terms.values():
            for judged, share in terms.allowed:
                self._look_at(judged, share, terms, now)
        self.lately = self._look(now)

    def _look_at(self, phase: Promised, allowed: float, terms: Terms, now: float) -> None:
        for seat in self.seats:
            record = seat.standing.records.get((terms.slo, phase))
            if record is not None:
                self._trust(seat, record, phase, allowed, terms, now)

    def _trust(
        self,
        seat: Seat,
        record: PromiseRecord,
        phase: Promised,
        allowed: float,
        terms: Terms,
        now: float,
    ) -> None:
        """Disqualify a seat that breaks its promises, where the others can carry the load.

        So is a seat whose gaps are too long for the class: it would get no calls, and nothing would
        show that it is better.  A disqualified seat is explored, and returns as unknown.
        """
        standing = seat.standing
        if not record.out:
            stuck = phase == "between" and standing.between_s > terms.between_s
            if (stuck or record.breaks(now, allowed)) and self._headroom(seat, terms, now):
                record.leave(now)
                standing.trust(terms.slo, phase, trusted=False)
        elif record.dwelt(now) and (
            record.recovered(now, allowed) or not self._headroom(seat, terms, now)
        ):
            record.come_back()
            if phase == "between":
                standing.between_s = 0.0
            standing.trust(terms.slo, phase, trusted=True)

    def _headroom(self, seat: Seat, terms: Terms, now: float) -> bool:
        """Whether the others could carry the load without it.

        Where an engine works off one call after the other (`serial`), the times of calls do not
        tell what it could do, because they depend on what it writes meanwhile; how early calls are
        (`EASY`) does tell.
        """
        if self._ease > EASY:
            return False
        others = [
            other
            for other in self.seats
            if other is not seat
            and not terms.barred(other.standing.out)
            and other.health.until <= now
        ]
        if terms.serial:
            units = capacity(others, terms.phase)
        else:
            units = sum(capacity((o,), terms.phase) * o.slots.limit for o in others)
        return self.offered(now) + self.elsewhere <= HEADROOM * units
