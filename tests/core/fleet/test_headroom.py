"""When a backend that breaks its promises is left out, and when all are asked all the same.

Source: algorithms.md 1.3 (headroom, panic); RFD 40.
"""

from __future__ import annotations

import random

import pytest

from modgate.fleet.health import PROBATION
from modgate.fleet.pick import Wanted
from modgate.fleet.pool import Pool
from modgate.fleet.sieve import qualified
from modgate.fleet.slots import Seat, Slots
from modgate.fleet.terms import Terms

PACE, SLOTS = 1e-4, 64
TERMS = Terms(slo="s", phase="total", target_s=1.0)
OUT = frozenset({("s", "total")})
LATER = 1000.0


def seat(name: str, pace: float = PACE) -> Seat:
    made = Seat(backend=name, region="", slots=Slots(limit=SLOTS), key=name)
    made.standing.paces["total"].learn(0.0, pace)
    for _ in range(PROBATION):
        made.health.succeeded(0.0)
    return made


def leaves(*, predicted: float, elsewhere: float) -> bool:
    """Whether one of two that breaks each promise is left out.

    `predicted`: what calls are predicted to take of their target.  `elsewhere`: units of work a
    second that are asked of both.
    """
    bad, good = seat("bad"), seat("good")
    pool = Pool([bad, good])
    pool.elsewhere = elsewhere
    wanted = Wanted(work=predicted / PACE, terms=TERMS)
    for _ in range(500):
        pool.choose(pool.seats, wanted, 0.5, random.Random(1))
    for _ in range(20):
        bad.standing.record_of("s", "total").judge(LATER, predicted=0.5, ratio=2.0)
    pool.sweep(LATER)
    return bad.standing.out == OUT


@pytest.mark.parametrize(("share", "left_out"), [(0.69, True), (0.71, False)])
def test_the_others_must_be_able_to_do_what_is_asked_and_have_three_tenths_left(
    share: float, left_out: bool
) -> None:
    can = SLOTS / PACE

    assert leaves(predicted=0.1, elsewhere=share * can) is left_out


@pytest.mark.parametrize(("predicted", "left_out"), [(0.24, True), (0.26, False)])
def test_calls_must_be_predicted_to_take_a_fourth_of_their_target_at_most(
    predicted: float, left_out: bool
) -> None:
    assert leaves(predicted=predicted, elsewhere=0.0) is left_out


@pytest.mark.parametrize(("good", "left_out"), [(50, True), (49, False)])
def test_where_less_than_half_of_what_can_be_done_is_trusted_all_are_asked(
    good: int, left_out: bool
) -> None:
    trusted, barred = seat("trusted", 1 / good), seat("barred", 1 / (100 - good))
    barred.standing.out = OUT
    both = [trusted, barred]

    assert qualified(both, both, TERMS) == ([trusted] if left_out else both)
