from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.limits.levels import KEPT_MS, WINDOW_KEPT_MS, Denied, Levels, Limit

MINUTE = 60_000
TTL = 30_000


def bucket(amount: int = 60, key: str = "b") -> Limit:
    return Limit(key=key, kind="b", amount=amount, period_ms=MINUTE, burst=amount)


def window(amount: int = 100, key: str = "w", ends_ms: int = 1_000_000) -> Limit:
    return Limit(key=key, kind="w", amount=amount, period_ms=ends_ms)


def count(amount: int = 2, key: str = "c") -> Limit:
    return Limit(key=key, kind="c", amount=amount)


def test_a_bucket_takes_its_burst_at_once_and_then_says_when_the_next_fits() -> None:
    levels, limit = Levels(), bucket(60)

    assert levels.reserve("a", [(limit, 60)], 0, TTL) is None
    assert levels.reserve("b", [(limit, 1)], 0, TTL) == Denied(1000, 0)


def test_the_wait_is_exact_to_the_millisecond() -> None:
    levels, limit = Levels(), bucket(7)
    levels.reserve("a", [(limit, 7)], 0, TTL)
    wait = levels.wait_ms(limit, 1, 0)

    assert levels.wait_ms(limit, 1, wait - 1) == 1
    assert levels.wait_ms(limit, 1, wait) == 0


def test_a_size_over_the_burst_is_taken_when_all_is_free_and_then_blocks() -> None:
    levels, limit = Levels(), bucket(60)
    assert levels.reserve("a", [(limit, 1000)], 0, TTL) is None

    assert levels.level(limit, 0) == 60 * MINUTE
    assert levels.reserve("b", [(limit, 1000)], 0, TTL) == Denied(MINUTE, 0)


def test_room_is_what_is_left_in_whole_units_and_less_than_none_in_debt() -> None:
    assert [bucket(60).room(level * MINUTE + 1) for level in (0, 40, 60)] == [59, 19, -1]
    assert [window(100).room(level) for level in (0, 40, 101)] == [100, 60, -1]


def test_settling_above_the_burst_is_debt_that_the_next_ones_wait_for() -> None:
    levels, limit = Levels(), bucket(60)
    levels.reserve("a", [(limit, 60)], 0, TTL)
    assert levels.settle("a", [180], 0)

    assert levels.wait_ms(limit, 1, 0) == 2 * MINUTE + 1000


def test_settling_below_the_reserve_gives_the_rest_back() -> None:
    levels, limit = Levels(), bucket(60)
    levels.reserve("a", [(limit, 60)], 0, TTL)
    levels.settle("a", [10], 0)

    assert levels.level(limit, 0) == 10 * MINUTE


def test_a_second_settle_changes_nothing() -> None:
    levels, limit = Levels(), bucket(60)
    levels.reserve("a", [(limit, 60)], 0, TTL)
    levels.settle("a", [10], 0)

    assert not levels.settle("a", [0], 0)
    assert not levels.settle("nobody", [0], 0)
    assert levels.level(limit, 0) == 10 * MINUTE


def test_the_same_reservation_again_charges_nothing_more() -> None:
    levels, limit = Levels(), bucket(60)
    levels.reserve("a", [(limit, 40)], 0, TTL)

    assert levels.reserve("a", [(limit, 40)], 0, TTL) is None
    assert levels.level(limit, 0) == 40 * MINUTE


def test_of_several_limits_all_are_charged_or_none() -> None:
    levels = Levels()
    wide, tight, full = bucket(100, "wide"), bucket(10, "tight"), window(5, "full", 50_000)
    levels.charge(full, 5, 0)

    denied = levels.reserve("a", [(wide, 10), (tight, 10), (full, 1)], 0, TTL)

    assert denied == Denied(50_000, 2)
    assert levels.level(wide, 0) == levels.level(tight, 0) == 0


def test_a_window_waits_for_its_end_and_never_less_than_a_millisecond() -> None:
    levels, limit = Levels(), window(10, ends_ms=5_000)
    levels.reserve("a", [(limit, 10)], 0, TTL)

    assert levels.wait_ms(limit, 1, 1_000) == 4_000
    assert levels.wait_ms(limit, 1, 6_000) == 1


def test_a_window_can_be_settled_beyond_its_amount_and_does_not_leak() -> None:
    levels, limit = Levels(), window(10)
    levels.reserve("a", [(limit, 10)], 0, TTL)
    levels.settle("a", [25], 500_000)

    assert levels.level(limit, 900_000) == 25


def test_a_count_comes_back_whatever_was_measured() -> None:
    levels, limit = Levels(), count(1)
    levels.reserve("a", [(limit, 1)], 0, TTL)
    assert levels.reserve("b", [(limit, 1)], 0, TTL) == Denied(1000, 0)

    levels.settle("a", [1], 0)

    assert levels.level(limit, 0) == 0


def test_what_was_not_touched_in_time_is_reaped_with_what_was_measured_last() -> None:
    levels, limit = Levels(), bucket(60)
    levels.reserve("a", [(limit, 60)], 0, TTL)
    assert levels.touch("a", [20], 10_000, TTL)
    assert levels.reap(39_999) == 0
    assert levels.reap(40_000) == 1

    assert levels.level(limit, 40_000) == 0  # 20 units leak away in 20 s
    assert not levels.touch("a", [30], 40_000, TTL)
    assert not levels.touch("nobody", [30], 40_000, TTL)


def test_a_settle_after_the_reaping_still_corrects() -> None:
    levels, limit = Levels(), window(100)
    levels.reserve("a", [(limit, 60)], 0, TTL)
    levels.touch("a", [20], 0, TTL)
    levels.reap(TTL)
    assert levels.level(limit, TTL) == 20

    assert levels.settle("a", [35], TTL)
    assert levels.level(limit, TTL) == 35


def test_reaping_closes_at_most_as_many_as_it_is_told() -> None:
    levels, limit = Levels(), count(10)
    for rid in "abc":
        levels.reserve(rid, [(limit, 1)], 0, TTL)

    assert levels.reap(TTL, at_most=2) == 2
    assert levels.level(limit, TTL) == 1


def test_a_clock_that_goes_back_leaks_nothing() -> None:
    levels, limit = Levels(), bucket(60)
    levels.charge(limit, 30, 10_000)
    levels.charge(limit, 10, 4_000)

    assert levels.level(limit, 4_000) == 40 * MINUTE
    assert levels.level(limit, 11_000) == 39 * MINUTE


def test_what_was_charged_before_a_clock_was_set_back_leaks_from_then_on() -> None:
    levels, limit, hour = Levels(), bucket(60), 3_600_000
    levels.charge(limit, 60, hour)

    assert levels.wait_ms(limit, 1, 0) == 1_000
    assert levels.wait_ms(limit, 1, 1_000) == 0
    levels.charge(window(10, "w", ends_ms=2 * hour), 1, 61_000)
    assert levels.sizes()[0] == 1


def test_what_has_leaked_away_is_forgotten() -> None:
    levels = Levels()
    for index in range(100):
        levels.charge(bucket(60, f"b{index}"), 1, index)
    levels.charge(window(10, "w", ends_ms=2_000), 3, 0)
    assert levels.sizes() == (101, 0)

    levels.charge(bucket(60), 0, 60_000)
    assert levels.sizes() == (1, 0)  # the window is kept for late settlements
    levels.charge(bucket(60), 0, 2_000 + WINDOW_KEPT_MS)

    assert levels.sizes() == (0, 0)


def test_a_count_in_hand_is_never_forgotten() -> None:
    levels, limit = Levels(), count(1)
    levels.reserve("a", [(limit, 1)], 0, 10 * KEPT_MS)
    levels.charge(bucket(), 0, 5 * KEPT_MS)

    assert levels.level(limit, 5 * KEPT_MS) == 1


def test_a_settled_record_answers_for_ten_minutes_and_is_dropped_then() -> None:
    levels, limit = Levels(), bucket(60)
    levels.reserve("a", [(limit, 1)], 0, TTL)
    levels.settle("a", [1], 0)
    levels.charge(limit, 0, KEPT_MS - 1)
    assert levels.sizes()[1] == 1

    levels.charge(limit, 0, KEPT_MS + 1_000)

    assert levels.sizes()[1] == 0


def test_a_forgotten_record_is_gone_at_once() -> None:
    levels, limit = Levels(), bucket(60)
    levels.reserve("a", [(limit, 1)], 0, TTL)
    levels.forget("a")
    levels.forget("a")

    assert levels.sizes()[1] == 0


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(1, 500),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 700)), min_size=1, max_size=120),
)
def test_no_window_of_time_is_ever_granted_more_than_the_burst_and_what_leaked(
    amount: int, asked: list[tuple[int, int]]
) -> None:
    levels, limit, now = Levels(), bucket(amount), 0
    granted: list[tuple[int, int]] = []
    for index, (gap, size) in enumerate(asked):
        now += gap
        if levels.reserve(str(index), [(limit, size)], now, TTL) is None:
            granted.append((now, min(size, amount)))
    for start, (begin, _) in enumerate(granted):
        total = 0
        for at, size in granted[start:]:
            total += size
            assert total * MINUTE <= amount * MINUTE + amount * (at - begin)


@pytest.mark.parametrize("amount", [0, 1])
def test_a_limit_of_almost_nothing_divides_by_nothing(amount: int) -> None:
    levels, limit = Levels(), bucket(amount)
    levels.charge(limit, 1, 0)

    assert levels.wait_ms(limit, 1, 0) > 0
