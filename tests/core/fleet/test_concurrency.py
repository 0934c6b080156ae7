from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.fleet.concurrency import HOPELESS, REST_S, Concurrency, Watch
from modgate.fleet.slots import Slots


def second(limit: Concurrency, now: float, *, late: int, of: int = 10, at_once: int = 99) -> float:
    """So many calls end in a second; what time it is then."""
    for number in range(of):
        limit.saw(now + number / of, late=number < late, at_once=at_once)
    return now + 1.0


def test_the_limit_falls_while_too_many_are_late_and_rises_while_few_are() -> None:
    limit, now = Concurrency(50, 50), 10.0
    seen = []
    for late in (4, 4, 2, 1, 0, 0):
        now = second(limit, now, late=late)
        second(limit, now, late=late)
        now += 1.0
        seen.append(limit.limit)

    assert seen[0] < 50
    assert seen[1] < seen[0]
    assert seen[2] == seen[1]  # between the two bounds it stays
    assert seen[3] < seen[4] < seen[5]


@pytest.mark.parametrize(
    ("late", "limit"),
    [(7, 36), (6, 40), (4, 40), (3, 41), (0, 41)],  # of 20: 30 % is not too many, 15 % is few
)
def test_more_than_30_of_100_late_calls_lower_it_and_15_at_most_raise_it(
    late: int, limit: int
) -> None:
    found = Concurrency(40, 50)
    second(found, 10.0, late=0, of=5, at_once=0)  # a second begins, and nothing was in use
    assert found.limit == 40
    for number in range(20):
        found.saw(12.0 if number == 19 else 10.9, late=number < late, at_once=99)

    assert found.limit == limit


def test_it_rises_only_where_it_is_used_and_never_above_the_most() -> None:
    idle, used = Concurrency(10, 14), Concurrency(10, 14)
    now = 0.0
    for _ in range(20):
        second(idle, now, late=0, at_once=7)
        now = second(used, now, late=0, at_once=used.limit)

    assert idle.limit == 10
    assert used.limit == 14


def test_few_calls_say_nothing_until_there_are_five() -> None:
    limit = Concurrency(10, 10)
    for number in range(4):
        limit.saw(number * 10.0, late=True, at_once=10)

    assert limit.limit == 10
    assert limit.saw(50.0, late=True, at_once=10) == 9


def test_an_engine_that_is_late_alone_gets_what_was_declared_again_for_a_while() -> None:
    limit, now = Concurrency(8, 8), 0.0
    seen = []
    for _ in range(HOPELESS + 60):
        now = second(limit, now, late=10)
        seen.append(limit.limit)
    rested = seen.index(8, 10)

    assert min(seen) == 4
    assert seen[rested:] == [8] * (len(seen) - rested)
    now += REST_S
    assert second(limit, now, late=10) > now
    assert limit.limit == 7


def test_a_small_engine_keeps_what_it_has() -> None:
    limit, now = Concurrency(2, 2), 0.0
    for _ in range(10):
        now = second(limit, now, late=10)

    assert limit.limit == 2


@pytest.mark.slow
@settings(derandomize=True, deadline=None)
@given(
    declared=st.integers(1, 64),
    more=st.integers(0, 64),
    calls=st.lists(st.tuples(st.floats(0, 2), st.booleans(), st.integers(1, 128)), max_size=200),
)
def test_the_limit_stays_within_its_bounds(
    declared: int, more: int, calls: list[tuple[float, bool, int]]
) -> None:
    limit, now = Concurrency(declared, declared + more), 0.0
    for wait, late, at_once in calls:
        now += wait
        before = limit.limit
        after = limit.saw(now, late=late, at_once=at_once)

        assert min(4, declared) <= after <= declared + more
        assert after <= before + 1 or after == declared


@pytest.mark.parametrize(
    ("first", "end", "events", "late"),
    [(0.9, 1.5, 10, False), (1.1, 1.2, 2, True), (0.5, 1.5, 10, True), (0.5, 5.0, 1, False)],
)
def test_a_stream_is_late_by_its_first_event_or_by_its_gaps(
    first: float, end: float, events: int, late: bool
) -> None:
    watch = Watch(0.0, whole=False, target_s=1.0, between_s=0.1)
    watch.first(first)
    watch.first(first + 9)  # only the first counts

    assert watch.late(end, events) is late


def test_a_whole_reply_is_late_by_its_end() -> None:
    watch = Watch(0.0, whole=True, target_s=1.0, between_s=0.0)
    watch.first(0.1)

    assert watch.late(1.1, 1)
    assert not watch.late(0.9, 1)


def test_a_reload_keeps_where_the_limit_is_and_a_changed_number_starts_again() -> None:
    slots = Slots(limit=20)
    slots.declare(20, 20)
    for number in range(5):
        slots.saw(float(number), late=True)
    moved = slots.limit
    slots.declare(20, 20)
    kept = slots.limit
    slots.declare(30, 30)
    changed = slots.limit
    slots.declare(30, None)
    for number in range(50):
        slots.saw(10.0 + number, late=True)

    assert (moved, kept, changed, slots.limit) == (18, 18, 30, 30)
