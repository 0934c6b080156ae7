"""What a pool could do for a call, without taking anything: for whoever thinks of going elsewhere.

`pool` None: nobody serves the model.
"""

from __future__ import annotations

import random

from modgate.fleet.drain import drain_s
from modgate.fleet.pick import Wanted, pick
from modgate.fleet.pool import Pool

KEPT = ("fit", "affinity")


def has_other(pool: Pool | None, wanted: Wanted) -> bool:
    """Whether a backend is left that did not fail this call yet."""
    seats = pool.candidates(wanted) if pool is not None else ()
    return any(seat.backend not in wanted.tried for seat in seats)


def answers_elsewhere(pool: Pool | None, wanted: Wanted, backend: str, now: float) -> bool:
    """Whether another one answers that may take this call and did not fail it."""
    for seat in pool.candidates(wanted) if pool is not None else ():
        other = seat.backend != backend and seat.backend not in wanted.tried
        if other and seat.health.until <= now:
            return True
    return False


def soonest_s(pool: Pool | None, wanted: Wanted) -> float:
    """The least time that is predicted of a backend that may take this call."""
    seats = pool.candidates(wanted) if pool is not None else ()
    if not seats or wanted.terms is None:
        return 0.0
    return min(drain_s(seats, wanted.work, wanted.terms))


def free_s(pool: Pool | None, wanted: Wanted, rate: float, now: float) -> float:
    """How long until a slot is free for a call; 0: one is, or nobody knows.

    By the work in hand and what the whole pool does a second (`rate`), as if calls in hand ended
    one after the other; and not before one of the backends is asked again at all.
    """
    seats = pool.candidates(wanted) if pool is not None else ()
    if pool is None or not seats:
        return 0.0
    away_s = max(0.0, min(seat.health.until for seat in seats) - now)
    taken = sum(seat.slots.taken for seat in seats)
    if not rate or not taken or any(seat.free for seat in seats):
        return away_s
    part = sum(seat.slots.limit for seat in seats) / sum(each.slots.limit for each in pool.seats)
    work = sum(seat.standing.work for seat in seats)
    return max(away_s, work / (rate * part) / taken)


def keeps(pool: Pool | None, wanted: Wanted, now: float) -> bool:
    """Whether a backend would keep what is promised."""
    terms = wanted.terms
    seats = pool.candidates(wanted) if pool is not None else ()
    if not seats or terms is None:
        return False
    found = pick(seats, wanted.work, terms, now=now, rng=random, exact=True)
    return found is not None and found.why in KEPT


def is_down(pool: Pool | None, wanted: Wanted, now: float) -> bool:
    """Whether none answers now, of those that may take this call."""
    return pool is None or all(s.health.until > now for s in pool.candidates(wanted))
