"""A machine's hours among those who used it: nothing is lost, and nothing is made."""

from __future__ import annotations

import random
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from modgate.prices.apportion import (
    HOUR_US,
    SECOND_US,
    SLOT_US,
    SLOTS,
    Stay,
    largest_remainder,
    share_hour,
)

HOUR = 20_000 * HOUR_US
stays = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(-HOUR_US, 2 * HOUR_US),
        st.integers(0, HOUR_US),
        st.integers(0, 10**12),
    ),
    max_size=12,
)


def made(found: list[tuple[int, int, int, int]]) -> list[Stay]:
    return [
        Stay(id=f"r{at}", began_us=HOUR + began, ended_us=HOUR + began + lasted, work=work)
        for at, began, lasted, work in found
    ]


@given(total=st.integers(0, 10**15), weights=st.lists(st.integers(0, 10**18), min_size=1))
def test_shares_sum_to_the_whole_and_are_less_than_one_from_their_due(
    total: int, weights: list[int]
) -> None:
    if not any(weights):
        return
    shares = largest_remainder(total, weights)

    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(total * weight, sum(weights))) < 1


@given(cost=st.integers(0, 10**12), found=stays, seed=st.integers(0, 9))
def test_what_is_attributed_and_what_is_idle_sum_to_the_cost_in_any_order(
    cost: int, found: list[tuple[int, int, int, int]], seed: int
) -> None:
    there = made(found)
    shuffled = there.copy()
    random.Random(seed).shuffle(shuffled)
    shared = share_hour(cost, HOUR, there)

    assert sum(shared.shares.values()) + shared.idle == cost
    assert shared.idle >= 0
    assert all(share >= 0 for share in shared.shares.values())
    assert share_hour(cost, HOUR, shuffled).shares == shared.shares


def test_hundreds_of_random_hours_lose_no_micro_unit() -> None:
    chance = random.Random(4)
    for _ in range(400):
        there = [
            Stay(
                id=f"r{at}",
                began_us=(began := HOUR + chance.randrange(-SLOT_US, HOUR_US)),
                ended_us=began + chance.randrange(0, 100 * SECOND_US),
                work=chance.randrange(0, 5000),
            )
            for at in range(chance.randrange(0, 30))
        ]
        cost = chance.randrange(0, 50_000_000)

        shared = share_hour(cost, HOUR, there)
        assert sum(shared.shares.values()) + shared.idle == cost


def test_an_hour_with_nobody_is_idle_and_one_who_is_there_pays_for_his_slots_only() -> None:
    half = Stay(id="a", began_us=HOUR, ended_us=HOUR + HOUR_US // 2, work=10)

    assert share_hour(3600, HOUR, []).idle == 3600
    assert share_hour(3600, HOUR, [half]).shares == {"a": 1800}


def test_a_slot_is_shared_by_work_and_who_is_silent_pays_almost_nothing() -> None:
    def stay(name: str, work: int) -> Stay:
        return Stay(id=name, began_us=HOUR, ended_us=HOUR + SLOT_US, work=work)

    shared = share_hour(SLOTS * 400, HOUR, [stay("a", 300), stay("b", 100), stay("c", 0)])

    assert shared.shares == {"a": 300, "b": 100, "c": 0}
    assert share_hour(SLOTS * 400, HOUR, [stay("c", 0)]).shares == {"c": 400}


def test_the_part_of_a_request_that_lies_in_a_slot_is_its_work_there() -> None:
    def stay(name: str, began_s: int, lasted_s: int, work: int) -> Stay:
        began_us = HOUR + began_s * SECOND_US
        return Stay(id=name, began_us=began_us, ended_us=began_us + lasted_s * SECOND_US, work=work)

    there = [stay("a", -5, 10, 100), stay("b", 5, 20, 200), stay("c", 0, 10, 100)]
    shared = share_hour(SLOTS * 400, HOUR, there)

    assert shared.shares == {"a": 100, "b": 100 + 400 + 400, "c": 200}


def test_a_request_pays_in_each_hour_for_what_it_did_there() -> None:
    across = Stay(id="a", began_us=HOUR - SLOT_US, ended_us=HOUR + SLOT_US, work=10)

    assert share_hour(SLOTS, HOUR, [across]).shares == {"a": 1}
    assert share_hour(SLOTS, HOUR - HOUR_US, [across]).shares == {"a": 1}
    assert share_hour(SLOTS, HOUR + HOUR_US, [across]).idle == SLOTS


def test_a_stay_that_took_no_time_was_there() -> None:
    at_once = Stay(id="a", began_us=HOUR + SLOT_US, ended_us=HOUR + SLOT_US)

    assert share_hour(SLOTS, HOUR, [at_once]).shares == {"a": 1}
