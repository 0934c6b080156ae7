"""The pick: which seat takes a call.  Pure: everything it looks at is an argument.

Its order is fixed: residency and what the call requires (`candidates`), then engines that answer,
then free slots, then those that keep their promises, then those predicted to be in time, then where
calls like it went before, then the least time to drain.

Source: algorithms.md 1.4 and Appendix B (`pick`); architecture.md 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from math import inf
from operator import mul
from typing import Literal

import msgspec

from modgate.fleet.affinity import Homes
from modgate.fleet.drain import drain_s, load_of
from modgate.fleet.pool_state import PoolState
from modgate.fleet.rng import Rng
from modgate.fleet.sieve import answering, qualified, to_explore, with_room
from modgate.fleet.slots import Seat
from modgate.fleet.terms import Terms
from modgate.units import NOTHING, Units

FITS = 0.7  # of its target: a call predicted to take no more is in time
SAMPLED = 3  # of those that fit, where the view of them is not exact
LOOKED_AT = 64  # of a larger pool, a sample is looked at
LOOKED_AT_OF_MORE = 16
DRAIN_GUARD, DRAIN_FITS = 2.0, 0.5

Why = Literal["fit", "affinity", "explore", "best_effort"]
Stage = Literal["passed_over", "in_hand", "filtered", "ejected", "no_slot", "disqualified", "fit"]
Passed = tuple[tuple[Stage, Sequence[Seat]], ...]
NOBODY: tuple[Sequence[Seat], Sequence[float]] = ((), ())
Factors = Callable[[Sequence[Seat], Sequence[float]], Sequence[float] | None]


class Wanted(msgspec.Struct, kw_only=True):
    """What a call needs of a backend.

    `regions`: None = anywhere.  `tried`: backends that failed it already.  `terms`: None = nothing
    is promised and nothing judged.  `tenant`, `size`: shown to scorers.  `watched`: terms of a call
    without a choice of backends: keeping them only moves the engine's slots.
    """

    work: float = 0.0
    regions: frozenset[str] | None = None
    requires: tuple[tuple[str, str], ...] = ()
    tried: frozenset[str] = frozenset()
    terms: Terms | None = None
    tenant: str = ""
    size: Units = NOTHING
    watched: Terms | None = None


class Choice(msgspec.Struct):
    """The seat that a call gets, and why.

    `load`: the work that the engine must do until this call is through, its own included.
    `predicted`: the predicted time as a share of the target.  The rest is for `modgate explain`:
    the `compared` seats with the predicted `seconds` of each (`inf`: it cannot keep the promise);
    the seats that `passed` each filter, where some did not; how scorers `liked` them; and how all
    seats stood `lately`.
    """

    seat: Seat
    load: float
    predicted: float
    why: Why
    compared: Sequence[Seat] = ()
    seconds: Sequence[float] = ()
    passed: Passed = ()
    liked: tuple[Sequence[Seat], Sequence[float]] = NOBODY
    lately: PoolState | None = None


def allowed(seat: Seat, wanted: Wanted) -> bool:
    """The hard filters: residency, then what the call requires.

    A seat that declares nothing of a kind is not refused for it.
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

    A retry prefers an engine that has not failed others lately either.  None goes to an engine that
    drains while another is there.
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
    rng: Rng,
    exact: bool,
    factors: Factors | None = None,
) -> Choice | None:
    """The seat of these candidates that will keep the promise; None = none is free.

    `exact`: see `Pool`; where it is false a sample is compared.  `factors`: what scorers multiply
    the predicted times by.  A choice of `best_effort`: none will keep the promise, and this seat
    comes closest.
    """
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
    if (due := to_explore(free, terms, now)) is not None:
        found = choice_of(due, work, terms, "explore")
    else:
        if len(good) > LOOKED_AT:
            good = rng.sample(good, LOOKED_AT_OF_MORE)
        predicted = drain_s(good, work, terms)
        able = [p if able_to(s, terms) else inf for s, p in zip(good, predicted, strict=True)]
        fit, times = in_time(good, able, terms)
        if fit:
            found = _fitting(seats, fit, times, work, terms, rng, exact=exact, factors=factors)
        else:
            seat = soonest(good, predicted, work, terms, rng, exact=exact, factors=factors)
            found = choice_of(seat, work, terms, "best_effort")
        found.compared, found.seconds = good, predicted
        passed = (*passed, ("fit", fit))
    found.passed = passed
    return found


def drawn_of(seats: Sequence[Seat], rng: Rng) -> Sequence[Seat]:
    """SAMPLED different ones of them; `rng.sample` would take longer than all the rest."""
    size = len(seats)
    one, two, three = int(rng.random() * size), int(rng.random() * size), int(rng.random() * size)
    if one in (two, three) or two == three:
        return rng.sample(seats, SAMPLED)
    return seats[one], seats[two], seats[three]


def _fitting(
    seats: Sequence[Seat],
    fit: Sequence[Seat],
    times: Sequence[float],
    work: float,
    terms: Terms,
    rng: Rng,
    *,
    exact: bool,
    factors: Factors | None,
) -> Choice:
    """Of these that will be in time: at home, else the soonest."""
    if terms.affinity is not None:
        home = _at_home(seats, fit, times, work, terms, factors)
        if home is not None:
            return choice_of(home, work, terms, "affinity", fit, times)
    seat = soonest(fit, times, work, terms, rng, exact=exact, factors=factors)
    return choice_of(seat, work, terms, "fit", fit, times)


def soonest(
    seats: Sequence[Seat],
    predicted: Sequence[float],
    work: float,
    terms: Terms,
    rng: Rng,
    *,
    exact: bool,
    factors: Factors | None,
) -> Seat:
    """The soonest of these; of a sample, where what they have in hand is not known exactly."""
    if not exact and len(seats) > SAMPLED:
        seats = drawn_of(seats, rng)
        predicted = drain_s(seats, work, terms)
    return least(seats, predicted, rng, factors)


def idlest(seats: Sequence[Seat], work: float, rng: Rng) -> Seat | None:
    """Where nothing is promised: the free seat with the least work per slot after this call.

    Ties by lot.  None = none is free.
    """
    if len(seats) == 1:  # same result without this: most pools are small
        return seats[0] if seats[0].free else None
    free = [seat for seat in seats if seat.free]
    if not free:
        return None
    return min(free, key=lambda s: ((s.standing.work + work) / s.slots.limit, rng.random()))


def able_to(seat: Seat, terms: Terms) -> bool:
    """Whether its gaps and its cache let it keep the promise, however soon it begins."""
    return seat.standing.between_s <= (terms.between_s or inf) and not seat.health.reported.full


def in_time(
    seats: Sequence[Seat], predicted: Sequence[float], terms: Terms
) -> tuple[Sequence[Seat], Sequence[float]]:
    """Those that will most likely keep the promise, and their predicted times."""
    bound = FITS * terms.target_s
    if max(predicted) <= bound:  # same result without this
        return seats, predicted
    fits = [seconds <= bound for seconds in predicted]
    return list(compress(seats, fits)), list(compress(predicted, fits))


def least(
    seats: Sequence[Seat],
    predicted: Sequence[float],
    rng: Rng,
    factors: Factors | None = None,
    *,
    prefers: bool = True,
) -> Seat:
    """The one of the least predicted time times preference; ties by lot.

    Not `prefers`: every seat's preference is one.
    """
    scores = predicted
    if prefers:
        scores = [seconds * seat.factor for seat, seconds in zip(seats, predicted, strict=True)]
    if factors is not None and len(seats) > 1 and (said := factors(seats, predicted)) is not None:
        scores = list(map(mul, scores, said))
    best = min(scores)
    if scores.count(best) == 1:
        return seats[scores.index(best)]
    ties = [seat for seat, score in zip(seats, scores, strict=True) if score == best]
    return ties[int(rng.random() * len(ties))]


def _at_home(
    seats: Sequence[Seat],
    fit: Sequence[Seat],
    times: Sequence[float],
    work: float,
    terms: Terms,
    factors: Factors | None,
) -> Seat | None:
    """Where calls like this one went before, unless it would wait there for much longer, or scorers
    like it much less than another.

    Homes are chosen among all candidates, so they stay the same whoever fits now.
    """
    if terms.affinity is None:
        return None
    bound = max(DRAIN_GUARD * min(times), DRAIN_FITS * terms.target_s)
    said = factors(fit, times) if factors is not None and len(fit) > 1 else None
    for seat in Homes(seats).of(terms.affinity):
        if seat not in fit or drain_s((seat,), work, terms)[0] > bound:
            continue
        if said is None or said[fit.index(seat)] <= DRAIN_GUARD * min(said):
            return seat
    return None


def choice_of(
    seat: Seat,
    work: float,
    terms: Terms,
    why: Why,
    compared: Sequence[Seat] = (),
    seconds: Sequence[float] = (),
) -> Choice:
    """This seat, with what is predicted of it."""
    load = load_of(seat, work, terms)
    own_s = load * seat.standing.paces[terms.phase].value + seat.away_s
    return Choice(seat, load, own_s / terms.target_s, why, compared, seconds)
