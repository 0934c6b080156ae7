"""The quick pick decides as the rules do, written down plainly, whatever happened to its engines.

Fleets, events and times are drawn from a seed.  Each pick of a pool is compared with what the rules
of algorithms.md 1.4 say of the very same seats; and each rule, broken, is found out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import inf

import pytest

from modgate.api.vitals import Load
from modgate.fleet import quick as quickly
from modgate.fleet.affinity import MASK, Homes
from modgate.fleet.changes import Changes
from modgate.fleet.pick import Choice, Wanted
from modgate.fleet.pool import ELIGIBLE_AT_MOST, Pool
from modgate.fleet.promise import Promise
from modgate.fleet.slots import Seat, Slots, seed_of
from modgate.fleet.standing import Standing
from modgate.fleet.table import KEYS_AT_MOST, SeatTable
from modgate.fleet.terms import Phase, Promised, Terms

SEEDS = range(60)
EVENTS = 90
CLASSES = ("", "gold")
FACTORS = (1.0, 1.0, 1.1, 1.25, 1.375)


def load_s(seat: Seat, work: float, terms: Terms) -> float:
    """Predicted seconds: rule 1.2, from the raw state."""
    slots, standing, said = seat.slots, seat.standing, seat.health.reported
    pace = standing.paces[terms.phase].value
    hand = standing.work + standing.elsewhere
    for other in seat.beside:
        theirs = other.paces[terms.phase].value or pace
        hand += (other.work + other.elsewhere) * theirs / pace if pace > 0 else 0.0
    if said.waiting:
        hand = max(hand, said.waiting * (standing.usual or work))
    lanes = 1 if terms.serial else slots.limit
    waits = slots.taken + slots.elsewhere >= lanes or said.waiting > 0
    return (work + (hand / lanes if waits else 0.0)) * pace + seat.away_s


def has_slot(slots: Slots | None) -> bool:
    """Its own, or its share of a full engine."""
    if slots is None:
        return True
    return slots.taken + slots.elsewhere < slots.limit or slots.taken < slots.share


def room_of(seats: Sequence[Seat], now: float) -> tuple[list[Seat], list[Seat]]:
    """Those that answer, and those of them that are given one more call."""
    live = [s for s in seats if s.health.until <= now]
    if len(live) < len(seats) / 2:
        live = [s for s in seats if not s.health.refused] or list(seats)
    free = [s for s in live if has_slot(s.slots) and has_slot(s.group)]
    roomy = [s for s in free if s.slots.taken + s.slots.elsewhere < s.slots.limit]
    free = roomy or free
    old = [s for s in free if s.health.cap is None or s.slots.taken < s.health.cap]
    return live, old or free


def judged(terms: Terms) -> list[Promised]:
    """The phases that such a call is judged by."""
    return [terms.phase, "between"] if terms.between_s else [terms.phase]


def disqualified(seat: Seat, terms: Terms) -> bool:
    """For any of them."""
    return any((terms.slo, phase) in seat.standing.out for phase in judged(terms))


def trusted(free: list[Seat], live: list[Seat], terms: Terms) -> list[Seat]:
    """Those that keep their promises, if they are half of what answers."""
    good = [s for s in free if not disqualified(s, terms)]
    weight, whole = (
        sum(1 / p for s in each if (p := s.standing.paces[terms.phase].value) > 0)
        for each in (good, live)
    )
    return good if good and weight >= whole / 2 else free


def explored(free: list[Seat], terms: Terms, now: float) -> list[Seat]:
    """The disqualified ones that are due to be tried."""
    if terms.explores == "never":
        return []
    pause = 5.0 if terms.explores == "first" else 10.0
    return [
        seat
        for seat in free
        if disqualified(seat, terms)
        and all(
            now - seat.standing.record_of(terms.slo, phase).explored_at >= pause
            for phase in judged(terms)
        )
    ]


def first_two(key: int, seats: Sequence[Seat]) -> list[Seat]:
    """Those that a key prefers."""
    return sorted(seats, key=lambda seat: key * seat.seed & MASK, reverse=True)[:2]


def plainly(
    seats: Sequence[Seat], work: float, terms: Terms, now: float
) -> tuple[str, list[Seat], dict[Seat, float]]:
    """Why, the seats among which the choice is, and what each is compared by."""
    live, free = room_of(seats, now)
    good = trusted(free, live, terms)
    if due := explored(free, terms, now):
        return "explore", due[:1], {due[0]: 0.0}
    seconds = {s: load_s(s, work, terms) for s in good}
    gap = terms.between_s or inf
    able = [s for s in good if s.standing.between_s <= gap and not s.health.reported.full]
    fit = [s for s in able if seconds[s] <= 0.7 * terms.target_s]
    scores = {s: seconds[s] * s.factor for s in good}
    if not fit:
        return "best_effort", good, scores
    if terms.affinity is not None:
        bound = max(2.0 * min(seconds[s] for s in fit), 0.5 * terms.target_s)
        liked = min(s.factor for s in seats)
        near = [s for s in seats if s.factor <= 1.09 * liked]
        for home in (*first_two(terms.affinity, near), *first_two(terms.affinity, seats)):
            if home in fit and seconds[home] <= bound:
                return "affinity", [home], scores
    return "fit", fit, scores


class Life:
    """One fleet and what happens to it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 100.0
        group = Slots(limit=5)
        many = self.rng.randint(2, 9)
        self.seats = [self._seat(f"e{n}", group) for n in range(many)]
        self.pool = Pool(self.seats, exact=self.rng.random() < 0.7)
        self.serial = self.rng.random() < 0.6
        self.promises: list[Promise] = []

    def _seat(self, name: str, group: Slots) -> Seat:
        rng = self.rng
        seat = Seat(
            backend=name,
            region=rng.choice(("eu", "us")),
            slots=Slots(limit=rng.choice((2, 4, 64))),
            group=group if rng.random() < 0.1 else None,
            beside=(Standing(),) if rng.random() < 0.15 else (),
            factor=rng.choice(FACTORS),
            away_s=rng.choice((0.0, 0.08)),
            seed=seed_of(name),
            key=name,
        )
        for phase in ("first_byte", "total"):
            if rng.random() < 0.9:
                seat.standing.paces[phase].learn(self.now, rng.uniform(1e-5, 4e-4))
        if rng.random() < 0.7:
            for _ in range(25):
                seat.health.succeeded(self.now)
        return seat

    def terms(self) -> Terms:
        """Of one call."""
        rng = self.rng
        phase: Phase = rng.choice(("first_byte", "total"))
        return Terms(
            slo=rng.choice(CLASSES),
            phase=phase,
            serial=self.serial and phase == "first_byte",
            target_s=rng.choice((0.2, 1.0, 3.0)),
            between_s=0.06 if phase == "first_byte" else 0.0,
            read=rng.choice((0.0, 300.0)),
            affinity=rng.getrandbits(64) | 1 if rng.random() < 0.4 else None,
            explores=rng.choice(("first", "late", "never")),
        )

    def pick(self) -> None:
        """A pool's pick is among those of the rules, and as good as they say."""
        terms, work = self.terms(), self.rng.choice((50.0, 700.0, 2000.0))
        region = self.rng.choice((None, None, frozenset({"eu"})))
        wanted = Wanted(work=work, regions=region, terms=terms)
        seats = self.pool.candidates(wanted)
        if not seats:
            return
        if self.now - self.pool._swept >= 1.0:  # it does so itself; the rules are of what is then
            self.pool.sweep(self.now)
        if (terms.slo, terms.phase) not in self.pool._terms:
            self.pool._suppose(work, terms)
        assert [s.backend for s in seats] == [
            s.backend for s in self.seats if region is None or s.region in region
        ]
        _, free = room_of(seats, self.now)
        said = plainly(seats, work, terms, self.now) if free else None
        share = {s: load_s(s, work, terms) / terms.target_s for s in seats}
        choice = self.pool.choose(seats, wanted, self.now, self.rng)
        assert (choice is None) == (said is None)
        if choice is not None and said is not None:
            self._compare(choice, share[choice.seat], *said)
            self.promises.append(Promise(choice, work, terms, self.now))

    def _compare(
        self, choice: Choice, share: float, why: str, among: list[Seat], scores: dict[Seat, float]
    ) -> None:
        assert choice.why == why
        assert choice.seat in among
        assert choice.predicted == pytest.approx(share)
        score = scores[choice.seat]
        better = sum(scores[s] < score * (1 - 1e-9) for s in among)
        compared = len(among) if self.pool.exact else min(3, len(among))
        assert better <= len(among) - compared, "one of those that were compared was better"
        if why != "explore" and choice.passed:
            assert dict(choice.passed)["no_slot"] == room_of(choice.passed[0][1], self.now)[1]

    def happen(self) -> None:
        """Something, to an engine or a call."""
        rng = self.rng
        self.now += rng.choice((0.0, 0.001, 0.05, 0.4, 3.0))
        seat = rng.choice(self.seats)
        if rng.random() < 0.3:
            rng.choice((self._answers, self._says, self._others, self._changes))(seat)
        elif self.promises:
            self._move(self.promises[rng.randrange(len(self.promises))])

    def _answers(self, seat: Seat) -> None:
        rng, health = self.rng, seat.health
        match rng.randrange(6):
            case 0:
                health.eject(self.now, rng.random)
            case 1:
                health.saturated(self.now, rng.choice((0.5, 5.0)))
            case 2:
                health.failed(self.now, refused=True)
            case 3:
                phase: Promised = rng.choice(("first_byte", "between", "total"))
                seat.standing.trust("gold", phase, trusted=rng.random() < 0.7)
                kept = seat.standing.record_of("gold", phase)
                kept.explored_at = self.now - rng.choice((0.0, 7.0, 20.0))
            case _:
                health.succeeded(self.now)

    def _says(self, seat: Seat) -> None:
        rng = self.rng
        waiting, kv_use = rng.choice((0, 0, 9)), rng.choice((0.2, 0.2, 0.97))
        for _ in range(2):
            load = Load(running=3, waiting=waiting, kv_use=kv_use)
            seat.health.heard(load, seat.slots.taken, self.now, 1.0)

    def _others(self, seat: Seat) -> None:
        rng = self.rng
        seat.slots.heard(rng.choice((0, 0, 2, 4)), rng.choice((0, 1)))
        seat.standing.heard(rng.choice((0.0, 900.0)))
        for other in seat.beside:
            other.heard(rng.choice((0.0, 3000.0)))

    def _changes(self, seat: Seat) -> None:
        rng = self.rng
        seat.slots.declare(rng.choice((2, 4, 64)), None)
        seat.standing.saw_between(rng.choice((0.01, 0.02, 0.2)), rng.choice((0.0, 0.06)))

    def _move(self, promise: Promise) -> None:
        if self.rng.random() < 0.4:
            promise.first(self.now)
            return
        promise.end(self.now, ok=self.rng.random() < 0.9, events=self.rng.choice((1, 20)))
        self.promises.remove(promise)

    def run(self) -> None:
        """Events and picks in turn."""
        for _ in range(EVENTS):
            self.happen()
            self.pick()


def run_all() -> None:
    """Every fleet."""
    for seed in SEEDS:
        Life(seed).run()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quick_pick_is_the_one_that_the_rules_say(seed: int) -> None:
    Life(seed).run()


def test_most_picks_are_quick_where_engines_are_new_ejected_or_full() -> None:
    """What is kept would be of no use if one engine in trouble made every call ask all of them."""
    life = Life(3)
    life.pool.exact = True
    found = []
    for seat in life.seats[1:]:
        seat.health.cap = None
    life.seats[0].health.eject(life.now, life.rng.random)
    for _ in range(20):
        terms = Terms(slo="gold", phase="total", target_s=9.0)
        wanted = Wanted(work=50.0, terms=terms)
        life.pool.choose(life.seats, wanted, life.now, life.rng)
        table = life.pool._table(life.seats, wanted, terms)
        assert table is not None
        found.append(table.clear)

    assert all(found)


def test_an_engine_that_had_no_room_is_back_the_moment_it_said() -> None:
    """Before the next sweep looks at all of them again."""
    seats = [Seat(backend=name, region="", slots=Slots(limit=4)) for name in "ab"]
    seats[0].standing.paces["total"].learn(100.0, 1e-4)
    seats[1].standing.paces["total"].learn(100.0, 2e-4)
    pool, wanted = Pool(seats), Wanted(work=700.0, terms=Terms(target_s=9.0))
    found = []
    for at in (100.1, 100.3, 100.5):
        if at == 100.1:
            seats[0].health.saturated(100.1, 0.3)
        choice = pool.choose(seats, wanted, at, random.Random(1))
        assert choice is not None
        found.append(choice.seat.backend)

    assert found == ["b", "b", "a"]


def test_what_is_kept_of_keys_and_shapes_is_bounded() -> None:
    seats = [Seat(backend=name, region="eu", slots=Slots(limit=4)) for name in "abc"]
    pool = Pool(seats)
    for number in range(3 * ELIGIBLE_AT_MOST):
        wanted = Wanted(requires=(("voice", f"v{number}"),), terms=Terms(affinity=number))
        pool.choose(pool.candidates(wanted), wanted, 1.0, random.Random(1))
    table = SeatTable(seats, "total", serial=False)
    for key in range(1, 3 * KEYS_AT_MOST):
        table.homes(key)

    assert len(pool._eligible) <= ELIGIBLE_AT_MOST
    assert len(pool._tables) == 1  # the shapes are all of the same seats
    assert len(table._known) <= KEYS_AT_MOST


def test_tables_of_snapshots_that_are_gone_are_told_no_more() -> None:
    seat = Seat(backend="a", region="", slots=Slots(limit=4))
    for _ in range(100):
        SeatTable([seat], "total", serial=False)

    assert len(seat.slots.changes._rows) <= 2


def _deaf(self: Changes) -> None:
    """No change is heard of."""


def _blind(self: SeatTable, row: int, seat: Seat, now: float) -> None:
    """No seat is left out."""


def always(answer: Callable[[SeatTable], object]) -> property:
    """A field that answers so, whatever is written there."""
    return property(answer, lambda self, value: None)


BROKEN: dict[str, tuple[object, str, object]] = {
    "a change that is not told": (Changes, "tell", _deaf),
    "a seat that is not left out": (SeatTable, "_oddity", _blind),
    "a prediction that is not compared": (quickly, "in_time", lambda s, p, t: (s, p)),
    "the first for the least": (quickly, "least", lambda s, p, r, f=None, *, prefers=True: s[0]),
    "no preference": (SeatTable, "prefers", always(lambda self: False)),
    "gaps that nobody looks at": (SeatTable, "_widest_s", always(lambda self: 0.0)),
    "homes elsewhere": (
        Homes,
        "of",
        lambda self, key: iter(first_two(key ^ 6, self._groups[-1][0])),
    ),
    "homes whatever they have to do": (quickly, "DRAIN_GUARD", 1e9),
    "most are ejected": (SeatTable, "clear", always(lambda self: bool(self._open.seats))),
    "who is disqualified": (SeatTable, "_trusted", lambda self, terms, now: self._open),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_found_out(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, broken = BROKEN[rule]
    monkeypatch.setattr(where, name, broken)

    with pytest.raises(AssertionError):
        run_all()
