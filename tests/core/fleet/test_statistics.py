"""Counters, quantiles, estimates and health: what is known of an engine."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.fleet.counters import Counters, wilson
from modgate.fleet.estimate import Estimate
from modgate.fleet.health import Health
from modgate.fleet.promise_record import PromiseRecord
from modgate.fleet.quantiles import Quantiles


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_counters_hold_what_the_last_minute_held(steps: list[tuple[float, bool]]) -> None:
    counters, now, all_of_it = Counters(), 1000.0, []
    for wait, bad in steps:
        now += wait
        counters.add(now, 1, int(bad))
        all_of_it.append((int(now / 10), bad))
    counters.look(now)
    kept = [bad for slot, bad in all_of_it if int(now / 10) - slot < 6]

    assert (counters.n, counters.bad) == (len(kept), sum(kept))
    assert counters.seen == len(steps)


def test_a_share_lies_between_its_bounds() -> None:
    low, high = wilson(3, 20, 1.645)

    assert 0.05 < low < 0.15 < high < 0.33


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.001, 3.0), st.floats(0.2, 1.5))
def test_quantiles_are_at_most_two_per_cent_wrong(seed: int, middle: float, spread: float) -> None:
    rng, ring, seen = random.Random(seed), Quantiles(), []
    for number in range(1500):
        value = min(100.0, max(2e-4, rng.lognormvariate(0, spread) * middle))
        ring.add(100.0 + number * 0.01, value)
        seen.append(value)
    seen.sort()

    for share, found in zip((0.5, 0.95, 0.99), ring.at((0.5, 0.95, 0.99), 115.0), strict=True):
        assert found == pytest.approx(seen[int(share * len(seen))], rel=0.021)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from([5e-5, 1e-4, 0.001, 1.0, 100.0, 1000.0])),
        max_size=60,
    )
)
def test_quantiles_are_of_the_last_minute(steps: list[tuple[float, float]]) -> None:
    ring, now, all_of_it = Quantiles(), 5.0, []
    for wait, seconds in steps:
        now += wait
        ring.add(now, seconds)
        all_of_it.append((int(now / 10), min(127.5, max(1e-4, seconds))))
    kept = sorted(seconds for slot, seconds in all_of_it if int(now / 10) - slot < 6)
    due = [kept[int(share * len(kept))] if kept else 0.0 for share in (0.0, 0.5, 0.99)]

    assert ring.at((0.0, 0.5, 0.99), now) == pytest.approx(due, rel=0.02)
    assert ring.n == len(kept)
    assert ring.at((0.5,), now + 60) == [0.0]


def test_an_estimate_follows_bad_news_faster_than_good() -> None:
    estimate = Estimate()
    estimate.learn(0, 1.0)
    estimate.learn(0, 2.0)
    assert estimate.value == pytest.approx(1.2)
    estimate.learn(0, 0.2)

    assert estimate.value == pytest.approx(1.1)


def test_an_estimate_is_the_mean_of_those_who_know_and_fades_when_idle() -> None:
    estimate = Estimate()
    estimate.suppose(7.0)
    assert estimate.value == 7.0
    estimate.heard([0.0, 2.0, 4.0])
    assert estimate.value == 3.0
    estimate.suppose(7.0)
    estimate.heard([0.0])
    assert estimate.value == 3.0
    estimate.heard([2.0, 4.0])
    estimate.learn(10, 6.0)
    estimate.relax(70.0, 2.0, 60.0)
    assert estimate.value == 4.0
    estimate.heard([])
    estimate.relax(200.0, 2.0, 60.0)

    assert 2.0 < estimate.value < 4.0


def test_five_failures_in_a_row_eject_for_longer_each_time() -> None:
    health, halves = Health(), lambda: 0.5
    assert [health.failed(0.0, refused=False) for _ in range(5)] == [False] * 4 + [True]
    health.eject(0.0, halves)
    assert health.until == 30.0
    assert health.state(1.0) == "ejected"
    assert (health.state(31.0), health.cap) == ("probation", 1)
    assert health.failed(31.0, refused=False)  # on its return one is enough
    health.eject(31.0, halves)

    assert health.until == 91.0


def test_a_share_of_failures_ejects_though_none_are_in_a_row() -> None:
    health = Health()
    due = False
    for _ in range(20):
        health.succeeded(0.0)
        due = health.failed(0.0, refused=False)

    assert due


def test_a_new_engine_is_given_more_with_each_ten_successes() -> None:
    health = Health()
    caps = []
    for _ in range(21):
        caps.append(health.cap)
        health.succeeded(0.0)

    assert (caps[0], caps[10], caps[20]) == (4, 8, None)
    assert health.calm


def test_an_engine_that_says_how_long_it_is_full_is_left_alone_so_long() -> None:
    health = Health()
    assert health.state(9.0) == "unknown"
    health.succeeded(9.0)
    health.saturated(10.0, 3.0)

    assert (health.state(12.0), health.state(13.0)) == ("saturated", "probation")


def test_an_engine_that_is_full_whenever_it_is_asked_is_asked_less_and_less() -> None:
    health, now, pauses = Health(), 0.0, []
    for _ in range(7):
        for _ in range(3):  # calls that it had in hand say the same, and count once
            health.saturated(now, 1.0)
        pauses.append(health.until - now)
        now = health.until
    health.succeeded(now)
    health.saturated(now, 1.0)

    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert health.until == now + 1


def test_promises_are_broken_for_sure_only_after_twenty_of_them() -> None:
    kept = PromiseRecord()
    for _ in range(19):
        kept.judge(0.0, predicted=0.5, ratio=2.0)
    assert not kept.breaks(0.0, 0.05)
    kept.judge(0.0, predicted=0.9, ratio=2.0)  # nobody was sure of that one
    assert not kept.breaks(0.0, 0.05)
    kept.judge(0.0, predicted=0.5, ratio=2.0)

    assert kept.breaks(0.0, 0.05)
    assert kept.all.n == 21


def test_who_left_returns_after_its_dwell_with_good_fresh_calls_only() -> None:
    kept = PromiseRecord()
    kept.leave(100.0)
    assert not kept.dwelt(119.0)
    for _ in range(8):
        assert not kept.recovered(121.0, 0.05)
        kept.judge(121.0, predicted=0.5, ratio=0.5)
    assert kept.dwelt(121.0)
    assert kept.recovered(121.0, 0.05)
    kept.come_back()
    kept.leave(150.0)

    assert kept.dwell_s == 40.0


def test_an_engine_that_leaves_again_stays_away_twice_as_long_and_five_minutes_at_most() -> None:
    kept, now, dwells = PromiseRecord(), 1000.0, []
    for _ in range(6):
        kept.leave(now)
        dwells.append(kept.dwell_s)
        now += kept.dwell_s
        kept.come_back()
    kept.leave(now + 600.0)

    assert dwells == [20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert kept.dwell_s == 20.0  # ten minutes without are forgiven
