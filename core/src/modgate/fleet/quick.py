"""The pick by what is known already, for the calls that nothing stands in the way of.

The result is the same as that of `pick.pick`, which is asked where this one does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

from modgate.fleet.drain import drain_s
from modgate.fleet.lots import Lots
from modgate.fleet.pick import (
    DRAIN_FITS,
    DRAIN_GUARD,
    FITS,
    LOOKED_AT,
    SAMPLED,
    Choice,
    Factors,
    able_to,
    choice_of,
    drawn_of,
    in_time,
    least,
    soonest,
)
from modgate.fleet.slots import Seat
from modgate.fleet.table import Table
from modgate.fleet.terms import Terms


def quick(
    seats: Sequence[Seat],
    table: Table | None,
    work: float,
    terms: Terms,
    *,
    now: float,
    rng: Lots,
    exact: bool,
    factors: Factors | None = None,
) -> Choice | None:
    """As `pick.pick`; None = ask that one.  `table`: of these seats, where there is one."""
    if not exact and terms.affinity is None:
        found = _sampled(seats, work, terms, rng, factors)
        if found is not None:
            return found
    if table is None:
        return None
    if table.stale or now >= table.due:
        table.look(now)
    if not table.clear or len(table.seats) > LOOKED_AT or not table.trusts(terms):
        return None
    return _tabled(table, work, terms, rng, exact=exact, factors=factors)


def _tabled(
    table: Table,
    work: float,
    terms: Terms,
    rng: Lots,
    *,
    exact: bool,
    factors: Factors | None,
) -> Choice | None:
    predicted = table.predicted(work, terms.between_s)
    fit, times = in_time(table.seats, predicted, terms)
    if not fit:
        return _late(table, predicted, work, terms, rng, exact=exact, factors=factors)
    if terms.affinity is not None:
        home = _at_home(table, predicted, fit, times, terms, factors)
        if home is not None:
            return _found(table, home, work, terms, "affinity", predicted, fit)
    if exact or len(fit) <= SAMPLED:
        seat = least(fit, times, rng, factors, prefers=table.prefers)
    else:
        seat = soonest(fit, times, work, terms, rng, exact=exact, factors=factors)
    return _found(table, seat, work, terms, "fit", predicted, fit)


def _found(
    table: Table,
    seat: Seat,
    work: float,
    terms: Terms,
    why: Literal["fit", "affinity", "best_effort"],
    predicted: Sequence[float],
    fit: Sequence[Seat],
) -> Choice:
    row = table.row(seat)
    load, share = table.load(row, work), predicted[row] / terms.target_s
    if not table.left_out:
        return Choice(seat, load, share, why, table.seats, predicted)
    passed = (*table.passed(), ("fit", fit))
    return Choice(seat, load, share, why, table.open, table.of_open(predicted), passed)


def _late(
    table: Table,
    predicted: Sequence[float],
    work: float,
    terms: Terms,
    rng: Lots,
    *,
    exact: bool,
    factors: Factors | None,
) -> Choice | None:
    """None will be in time: the soonest all the same."""
    if not table.steady(terms.between_s):
        return None
    times = table.of_open(predicted)
    seat = soonest(table.open, times, work, terms, rng, exact=exact, factors=factors)
    return _found(table, seat, work, terms, "best_effort", predicted, ())


def _at_home(
    table: Table,
    predicted: Sequence[float],
    fit: Sequence[Seat],
    times: Sequence[float],
    terms: Terms,
    factors: Factors | None,
) -> Seat | None:
    """As `pick.at_home`."""
    if terms.affinity is None:
        return None
    bound = max(DRAIN_GUARD * min(times), DRAIN_FITS * terms.target_s)
    bound = min(bound, FITS * terms.target_s)  # it is one of those that fit
    said = factors(fit, times) if factors is not None and len(fit) > 1 else None
    for seat in table.homes.of(terms.affinity):
        if predicted[table.row(seat)] > bound:
            continue
        if said is None or said[fit.index(seat)] <= DRAIN_GUARD * min(said):
            return seat
    return None


def _sampled(
    seats: Sequence[Seat], work: float, terms: Terms, rng: Lots, factors: Factors | None
) -> Choice | None:
    """The pick where nothing is wrong with any seat that is looked at; None = ask the long way.

    A sample that fits is one of all that fit, whether or not the others were looked at.
    """
    drawn = seats if len(seats) <= SAMPLED else drawn_of(seats, rng)
    predicted = _plainly(drawn, work, terms)
    if predicted is None or len(in_time(drawn, predicted, terms)[0]) < len(drawn):
        return None
    return choice_of(least(drawn, predicted, rng, factors), work, terms, "fit", drawn, predicted)


def _plainly(seats: Sequence[Seat], work: float, terms: Terms) -> list[float] | None:
    """`drain_s` where each seat is healthy, free and trusted, shares nothing, and has one model.

    Of one that is not able to keep the promise, `inf`.
    """
    between = terms.between_s or inf
    phase, serial = terms.phase, terms.serial
    found = []
    for seat in seats:
        slots, standing = seat.slots, seat.standing
        taken = slots.taken + slots.elsewhere
        if taken >= slots.limit or standing.out or seat.entangled:
            return None
        if standing.between_s > between or not seat.health.calm:
            if not seat.health.sound:
                return None
            found.append(drain_s((seat,), work, terms)[0] if able_to(seat, terms) else inf)
        elif taken and serial:
            load = work + standing.work + standing.elsewhere
            found.append(load * standing.paces[phase].value + seat.away_s)
        else:
            found.append(work * standing.paces[phase].value + seat.away_s)
    return found
