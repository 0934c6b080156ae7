"""The pick: which seat takes a call.  Pure: everything it looks at is an argument.

Its order is fixed: residency and what the call requires (`candidates`), then engines that answer,
then free slots, then those that keep their promises, then those predicted to be in time, then where
calls like it went before, then the least time to drain.

Source: algorithms.md 1.4 and Appendix B (`pick`); architecture.md 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from modgate.fleet.affinity import first_two
from modgate.fleet.glance import Glance
from modgate.fleet.kept import EXPLORE_S
from modgate.fleet.lots import Lots
from modgate.fleet.slots import Seat
from modgate.fleet.terms import Phase, Terms

FITS = 0.7  # of its target: a call predicted to take no more is in time
SAMPLED = 3  # of those that fit, where the view of them is not exact
LOOKED_AT = 64  # of a larger pool, a sample is looked at
LOOKED_AT_OF_MORE = 16
DRAIN_GUARD, DRAIN_FITS = 2.0, 0.5
PANIC = 0.5
LATE_EXPLORER = 2.0

Why = Literal["fit", "affinity", "explore", "best_effort"]
Filter = Literal["passed_over", "in_hand", "ejected", "no_slot", "disqualified", "fit"]
Passed = tuple[tuple[Filter, Sequence[Seat]], ...]


@dataclass(slots=True, kw_only=True)
class Wanted:
    """What a call needs of a backend.

    `regions` None = anywhere; `tried`: backends that failed it already.  `terms` None: nothing is
    promised, and nothing is judged.
    """

    work: float = 0.0
    regions: frozenset[str] | None = None
    requires: tuple[tuple[str, str], ...] = ()
    tried: frozenset[str] = frozenset()
    terms: Terms | None = None


@dataclass(slots=True)
class Choice:
    """A seat, the work before this call is through (its own with it), and why this seat.

    `predicted`: its predicted time as a share of its target.  The rest is for whoever asks later:
    `compared` seats with the `seconds` that were predicted of each; where something was wrong with
    some of them, by filter those that `passed` it; and how all stood `lately`.
    """

    seat: Seat
    load: float
    predicted: float
    why: Why
    compared: Sequence[Seat] = ()
    seconds: Sequence[float] = ()
    passed: Passed = ()
    lately: Glance | None = None


def allowed(seat: Seat, wanted: Wanted) -> bool:
    """The hard filters.

    Residency first, then what the call requires.  A kind that is not declared refuses nothing.
    """
    if wanted.regions is not None and seat.region not in wanted.regions:
        return False
    if not wanted.requires:
        return True
    return all(
        kind not in seat.offers or value in seat.offers[kind] for kind, value in wanted.requires
    )


def candidates(pool: Sequence[Seat], wanted: Wanted) -> Sequence[Seat]:
    """The seats that may ever take this call; those that failed it only when no other is left.

    A call that failed goes to an engine of which nobody knows the like, if there is one; and none
    to one that drains while another is there.
    """
    if wanted.regions is None and not wanted.requires:  # same result without this
        fit = pool
    else:
        fit = [seat for seat in pool if allowed(seat, wanted)]
    if wanted.tried:
        fresh = [seat for seat in fit if seat.backend not in wanted.tried]
        sound = [seat for seat in fresh if not seat.health.failing]
        fit = sound or fresh or fit
    if fit and fit[-1].draining and not fit[0].draining:  # they stand last in a pool
        return [seat for seat in fit if not seat.draining]
    return fit


def pick(
    seats: Sequence[Seat],
    work: float,
    terms: Terms,
    *,
    now: float,
    rng: Lots,
    exact: bool,
) -> Choice | None:
    """The seat of these candidates that will keep the promise; None = none is free.

    `exact`: what the seats have in hand is known and not only heard of, so that all are compared
    and no sample.  A choice of `best_effort`: none will keep it, and this one comes closest.
    """
    quick = _quickly(seats, work, terms, rng, exact=exact)  # same result without this
    if quick is not None:
        return quick
    live = answering(seats, now)
    free = with_room(live)
    if not free:
        return None
    good = qualified(free, live, terms)
    passed: Passed = (
        ("passed_over", seats),
        ("ejected", live),
        ("no_slot", free),
        ("disqualified", good),
    )
    if len(good) < len(free) and (due := to_explore(free, terms, now)) is not None:
        found = _choice(due, work, terms, "explore")
    else:
        if len(good) > LOOKED_AT:
            good = rng.sample(good, LOOKED_AT_OF_MORE)
        predicted = drain_s(good, work, terms)
        fit = [seat for seat in in_time(good, predicted, terms) if not seat.health.said.full]
        found = _among(seats, good, predicted, fit, work, terms, rng, exact=exact)
        passed = (*passed, ("fit", fit))
    found.passed = passed
    return found


def _quickly(
    seats: Sequence[Seat], work: float, terms: Terms, rng: Lots, *, exact: bool
) -> Choice | None:
    """The pick where nothing is wrong with any seat that is looked at; None = ask the long way.

    A sample that fits is one of all that fit, whether or not the others were looked at.
    """
    if exact or terms.affinity is not None:
        predicted = _plainly(seats, work, terms) if len(seats) <= LOOKED_AT else None
        if predicted is None:
            return None
        fit = in_time(seats, predicted, terms)
        return _among(seats, seats, predicted, fit, work, terms, rng, exact=exact)
    drawn = seats if len(seats) <= SAMPLED else drawn_of(seats, rng)
    predicted = _plainly(drawn, work, terms)
    if predicted is None or len(fit := in_time(drawn, predicted, terms)) < len(drawn):
        return None
    if not fit:
        return None
    return _choice(least(drawn, predicted, rng), work, terms, "fit", drawn, predicted)


def drawn_of(seats: Sequence[Seat], rng: Lots) -> Sequence[Seat]:
    """Some of them, all different: a generator's own `sample` takes longer than all the rest."""
    size = len(seats)
    one, two, three = int(rng.random() * size), int(rng.random() * size), int(rng.random() * size)
    if one in (two, three) or two == three:
        return rng.sample(seats, SAMPLED)
    return seats[one], seats[two], seats[three]


def _plainly(seats: Sequence[Seat], work: float, terms: Terms) -> list[float] | None:
    """`drain_s` where each seat is healthy, free and trusted, shares nothing, and has one model."""
    phase, serial = terms.phase, terms.serial
    found = []
    for seat in seats:
        slots, standing = seat.slots, seat.standing
        taken = slots.taken + slots.elsewhere
        if taken >= slots.limit or standing.out or not seat.health.calm or seat.entangled:
            return None
        if taken and serial:
            load = work + standing.work + standing.elsewhere
            found.append(load * standing.paces[phase].value + seat.away_s)
        else:
            found.append(work * standing.paces[phase].value + seat.away_s)
    return found


def _among(
    seats: Sequence[Seat],
    good: Sequence[Seat],
    predicted: Sequence[float],
    fit: Sequence[Seat],
    work: float,
    terms: Terms,
    rng: Lots,
    *,
    exact: bool,
) -> Choice:
    """Of these that are good, and those of them that fit: at home, else the soonest."""
    if terms.affinity is not None and fit:
        home = _at_home(seats, fit, min(predicted), work, terms)
        if home is not None:
            return _choice(home, work, terms, "affinity", good, predicted)
    chosen, seconds = fit or good, predicted
    why: Why = "fit" if fit else "best_effort"
    if not exact and len(chosen) > SAMPLED:
        chosen = drawn_of(chosen, rng)
    if len(chosen) < len(good):
        predicted = drain_s(chosen, work, terms)
    return _choice(least(chosen, predicted, rng), work, terms, why, good, seconds)


def idlest(seats: Sequence[Seat], work: float, rng: Lots) -> Seat | None:
    """Where nothing is promised: the free seat with the least work per slot after this call.

    Ties by lot.  None = none is free.
    """
    if len(seats) == 1:  # same result without this: most pools are small
        return seats[0] if seats[0].free else None
    free = [seat for seat in seats if seat.free]
    if not free:
        return None
    return min(free, key=lambda s: ((s.standing.work + work) / s.slots.limit, rng.random()))


def answering(seats: Sequence[Seat], now: float) -> Sequence[Seat]:
    """Those that are not ejected.

    If most are, something else is wrong, and only those are left out where nobody listens.
    """
    live = [seat for seat in seats if seat.health.until <= now]
    if 2 * len(live) < len(seats):
        return [seat for seat in seats if not seat.health.refused] or seats
    return live


def with_room(seats: Sequence[Seat]) -> Sequence[Seat]:
    """Those with a free slot, first of all those that are neither new nor back a moment ago."""
    free = [
        seat
        for seat in seats
        if (slots := seat.slots).taken + slots.elsewhere < slots.limit
        and (seat.group is None or seat.group.free)
    ]
    slow = [s for s in free if (cap := s.health.cap) is not None and s.slots.taken >= cap]
    if slow and len(slow) < len(free):
        return [seat for seat in free if seat not in slow]
    return free


def qualified(free: Sequence[Seat], live: Sequence[Seat], terms: Terms) -> Sequence[Seat]:
    """Those that keep this class's promises; all of them if the others could not carry the load."""
    slo = terms.slo
    good = [seat for seat in free if slo not in seat.standing.out]
    if len(good) == len(free):
        return free
    weight, whole = capacity(good, terms.phase), capacity(live, terms.phase)
    return free if not good or weight < PANIC * whole else good


def capacity(seats: Sequence[Seat], phase: Phase) -> float:
    """Units of work a second, by what was learned; of seats of which nothing is, none."""
    return sum(1 / pace for seat in seats if (pace := seat.standing.paces[phase].value) > 0)


def to_explore(free: Sequence[Seat], terms: Terms, now: float) -> Seat | None:
    """A disqualified seat of which nobody knows for a while whether it got better."""
    if terms.explores == "never":
        return None
    pause = EXPLORE_S if terms.explores == "first" else EXPLORE_S * LATE_EXPLORER
    for seat in free:
        if terms.slo in seat.standing.out:
            kept = seat.standing.kept_of(terms.slo)
            if now - kept.explored_at >= pause:
                return seat
    return None


def drain_s(seats: Sequence[Seat], work: float, terms: Terms) -> list[float]:
    """At each seat the predicted seconds until this call is through the phase that is judged."""
    phase, serial = terms.phase, terms.serial
    found = []
    for seat in seats:
        slots, standing = seat.slots, seat.standing
        lanes = 1 if serial else slots.limit
        load = work
        if slots.taken + slots.elsewhere >= lanes or seat.health.said.waiting:
            load += ahead(seat, work, phase) / lanes
        found.append(load * standing.paces[phase].value + seat.away_s)
    return found


def ahead(seat: Seat, work: float, phase: Phase) -> float:
    """The work in hand at this seat.

    Strangers' is not in it unless more calls wait there than that comes to: then it is as much as
    calls take that are as usual, or as this one of `work` where nothing is usual yet.
    """
    standing, said = seat.standing, seat.health.said
    known = standing.work + standing.elsewhere
    if seat.beside:
        known += _beside(seat, phase)
    return max(known, said.waiting * (standing.usual or work)) if said.waiting else known


def load_of(seat: Seat, work: float, terms: Terms) -> float:
    """The work that is done at this seat when this call is through, its own with it."""
    slots = seat.slots
    lanes = 1 if terms.serial else slots.limit
    if slots.taken + slots.elsewhere < lanes and not seat.health.said.waiting:
        return work
    return work + ahead(seat, work, terms.phase) / lanes


def _beside(seat: Seat, phase: Phase) -> float:
    """The engine's other models' work, as work of this one: by the seconds that both take."""
    pace = seat.standing.paces[phase].value
    if pace <= 0:
        return 0.0
    return sum(
        (other.work + other.elsewhere) * (other.paces[phase].value or pace) / pace
        for other in seat.beside
    )


def in_time(seats: Sequence[Seat], predicted: Sequence[float], terms: Terms) -> Sequence[Seat]:
    """Those that will most likely keep the promise."""
    bound = FITS * terms.target_s
    between = terms.between_s or inf
    if max(predicted) <= bound:  # same result without this
        fit = [seat for seat in seats if seat.standing.between_s <= between]
    else:
        fit = [
            seat
            for seat, seconds in zip(seats, predicted, strict=True)
            if seconds <= bound and seat.standing.between_s <= between
        ]
    return fit


def least(seats: Sequence[Seat], predicted: Sequence[float], rng: Lots) -> Seat:
    """The one of the least predicted time times preference; ties by lot."""
    scores = [seconds * seat.factor for seat, seconds in zip(seats, predicted, strict=True)]
    best = min(scores)
    if scores.count(best) == 1:
        return seats[scores.index(best)]
    ties = [seat for seat, score in zip(seats, scores, strict=True) if score == best]
    return ties[int(rng.random() * len(ties))]


def _at_home(
    seats: Sequence[Seat], fit: Sequence[Seat], soonest_s: float, work: float, terms: Terms
) -> Seat | None:
    """Where calls like this one went before, unless it would wait there for much longer.

    The two homes are chosen among all candidates, so they stay the same whoever fits now.
    """
    if terms.affinity is None:
        return None
    bound = max(DRAIN_GUARD * soonest_s, DRAIN_FITS * terms.target_s)
    for seat in first_two(terms.affinity, seats):
        if seat in fit and drain_s((seat,), work, terms)[0] <= bound:
            return seat
    return None


def _choice(
    seat: Seat,
    work: float,
    terms: Terms,
    why: Why,
    compared: Sequence[Seat] = (),
    seconds: Sequence[float] = (),
) -> Choice:
    load = load_of(seat, work, terms)
    own_s = load * seat.standing.paces[terms.phase].value + seat.away_s
    return Choice(seat, load, own_s / terms.target_s, why, compared, seconds)
