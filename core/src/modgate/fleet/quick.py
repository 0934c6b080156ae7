"""The pick by what is known already, for the calls that nothing stands in the way of.

The result is the same as that of `pick.pick`, which is asked where this one does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

from modgate.fleet.drain import drain_s
from modgate.fleet.pick import (
    DRAIN_FITS,
    DRAIN_GUARD,
    FITS,
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
from modgate.fleet.rng import Rng
from modgate.fleet.slots import Seat
from modgate.fleet.table import OpenSeats, SeatTable
from modgate.fleet.terms import Terms


def quick(
    seats: Sequence[Seat],
    table: SeatTable | None,
    work: float,
    terms: Terms,
    now: float,
    rng: Rng,
    exact: bool,
    factors: Factors | None = None,
) -> Choice | None:
    """As `pick.pick`; None = ask that one.  `table`: of these seats, where there is one."""
    if not exact and terms.affinity is None:
        found = _sampled(seats, work, terms, rng, factors)
        if found is not None:
            return found
    open_ = table.open_to(terms, now) if table is not None else None
    if table is None or open_ is None:
        return None
    predicted = table.predicted(work, terms.between_s, open_)
    every = max(predicted) <= FITS * terms.target_s  # same result without this
    fit, times = (seats, predicted) if every else in_time(seats, predicted, terms)
    if not fit:
        return _late(table, open_, predicted, work, terms, rng, exact, factors)
    home = -1
    if terms.affinity is not None:
        home = _at_home(table, terms.affinity, predicted, fit, times, terms, factors)
    if home >= 0:
        return _found(table, open_, home, work, terms, "affinity", predicted, fit)
    if exact:  # same result without this
        seat = least(fit, times, rng, factors, prefers=table.prefers)
    else:
        seat = soonest(fit, times, work, terms, rng, exact=exact, factors=factors)
    return _found(table, open_, table.row(seat), work, terms, "fit", predicted, fit)


def _found(
    table: SeatTable,
    open_: OpenSeats,
    row: int,
    work: float,
    terms: Terms,
    why: Literal["fit", "affinity", "best_effort"],
    predicted: Sequence[float],
    fit: Sequence[Seat],
) -> Choice:
    seats = table.seats
    seat, load, share = seats[row], table.load(row, work), predicted[row] / terms.target_s
    if open_.every:
        return Choice(seat, load, share, why, seats, predicted)
    return Choice(seat, load, share, why, open_.seats, open_.of(predicted), open_.passed(fit))


def _late(
    table: SeatTable,
    open_: OpenSeats,
    predicted: Sequence[float],
    work: float,
    terms: Terms,
    rng: Rng,
    exact: bool,
    factors: Factors | None,
) -> Choice | None:
    """None will be in time: the soonest all the same."""
    if not table.steady(terms.between_s):
        return None
    times = open_.of(predicted)
    seat = soonest(open_.seats, times, work, terms, rng, exact=exact, factors=factors)
    return _found(table, open_, table.row(seat), work, terms, "best_effort", predicted, ())


def _at_home(
    table: SeatTable,
    key: int,
    predicted: Sequence[float],
    fit: Sequence[Seat],
    times: Sequence[float],
    terms: Terms,
    factors: Factors | None,
) -> int:
    """As there: the row of the home, -1 = it is better elsewhere."""
    fits = FITS * terms.target_s
    bound = max(DRAIN_GUARD * min(times), DRAIN_FITS * terms.target_s)
    if bound > fits:
        bound = fits
    said = factors(fit, times) if factors is not None and len(fit) > 1 else None
    for row in table.homes(key):
        if predicted[row] > bound:
            continue
        if said is None or said[fit.index(table.seats[row])] <= DRAIN_GUARD * min(said):
            return row
    return -1


def _sampled(
    seats: Sequence[Seat], work: float, terms: Terms, rng: Rng, factors: Factors | None
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
