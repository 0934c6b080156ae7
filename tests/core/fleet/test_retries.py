"""A pool's retries are a share of its requests: whatever fails, they never become a storm.

Source: algorithms.md 5.1.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.fleet.retries import AT_MOST, EACH_S, SHARE, WINDOW_S, Retries
from modgate.fleet.state import MODELS_AT_MOST, FleetState

STEPS = st.lists(
    st.one_of(
        st.just("request"),
        st.just("retry"),
        st.floats(min_value=0, max_value=30, allow_nan=False).map(float),
    ),
    max_size=400,
)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(STEPS)
def test_never_more_than_its_share_the_floor_and_what_was_saved(
    steps: list[str | float],
) -> None:
    retries, now, spent = Retries(), 100.0, 0
    began, came = now, list[float]()
    for step in steps:
        if step == "request":
            came.append(now)
            retries.earn(now)
        elif step == "retry":
            spent += retries.spend(now)
        else:
            assert isinstance(step, float)
            now += step
        lately = sum(now - at < 2 * WINDOW_S for at in came)
        saved = max(AT_MOST, SHARE * lately)
        if step == "request":
            assert 0 <= retries.left <= saved + 1e-6
        assert spent <= AT_MOST + SHARE * len(came) + EACH_S * (now - began) + 1e-6


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 200), st.floats(1, 60))
def test_a_second_without_retries_always_gives_one(requests: int, pause_s: float) -> None:
    retries, now = Retries(), 5.0
    for _ in range(requests):
        retries.earn(now)
    while retries.spend(now):
        pass

    assert retries.spend(now + pause_s)


def test_ten_are_saved_and_a_second_gives_one() -> None:
    retries = Retries()
    taken = [retries.spend(5.0) for _ in range(11)]
    later = [retries.spend(now) for now in (5.9, 6.1, 6.9, 7.1)]

    assert taken == [True] * 10 + [False]
    assert later == [False, True, False, True]


def test_where_everything_fails_one_request_in_ten_is_tried_again() -> None:
    retries, again = Retries(), 0
    for number in range(10_000):  # a thousand a second
        retries.earn(number / 1000)
        again += retries.spend(number / 1000)

    assert 1000 <= again <= 1000 + AT_MOST + 10 * EACH_S


def test_what_a_vanished_engine_had_in_hand_is_tried_again_where_much_is_asked() -> None:
    retries, now, per_s = Retries(), 0.0, 100
    for number in range(per_s * 60):
        now = number / per_s
        retries.earn(now)
    again = sum(retries.spend(now) for _ in range(3 * per_s))

    assert 2 * per_s <= again <= 4 * per_s


def test_what_was_saved_long_ago_is_no_storm_now() -> None:
    retries = Retries()
    for number in range(10_000):
        retries.earn(number / 1000)
    retries.earn(10.0 + 3 * WINDOW_S)

    assert retries.left == AT_MOST


def test_a_pool_keeps_its_own_and_models_are_bounded() -> None:
    state = FleetState()
    first = state.retries_of("first")
    while first.spend(0.0):
        pass

    assert state.retries_of("first") is first
    assert state.retries_of("second").spend(0.0)
    for number in range(MODELS_AT_MOST):
        state.retries_of(f"m{number}")
    assert len(state.retries) == MODELS_AT_MOST
