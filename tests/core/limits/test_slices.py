"""What a gateway tells the store of a slice that several requests spend of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from modgate.limits.levels import Denied, Limit
from modgate.limits.slices import SLICE_MS, TOUCH_MS, SlicePart, Slices
from modgate.limits.store import Reserved

NOW_MS = 1_000_000
MONTH = Limit(key="{acme}:m", kind="w", amount=1000, period_ms=NOW_MS + 86_400_000)


def minute(amount: int) -> Limit:
    return Limit(key="{acme}:t", kind="b", amount=amount, period_ms=60_000, burst=amount)


def spent(*counts: int) -> tuple[Slices, list[SlicePart]]:
    """A slice of a hundred, and a part of it for each request."""
    slices, parts = Slices("g"), list[SlicePart]()
    wanted = [(MONTH, 100)]
    assert slices.lacking(wanted, NOW_MS) == [0]
    [asking] = slices.asking(wanted, wanted, "{acme}", NOW_MS)
    assert slices.reserved(asking, wanted, Reserved(None, (100,)), NOW_MS) is None
    for count in counts:
        parts += [each for each in slices.take([(MONTH, count)], NOW_MS) if each is not None]
    assert len(parts) == len(counts)
    return slices, parts


def told(slices: Slices, now_ms: int) -> Sequence[tuple[str, tuple[int, ...]]]:
    """What the store is told at a time, and hears."""
    found = []
    for due in slices.due(now_ms):
        found.append((due.operation, due.counts))
        slices.done(due, now_ms)
    return found


def test_what_is_left_goes_back_after_a_second_and_what_lives_is_touched_until_it_ends() -> None:
    slices, [one, two] = spent(30, 20)
    slices.measure(one, 4)
    slices.measure(one, 7)
    assert told(slices, NOW_MS) == []
    assert slices.share(MONTH, NOW_MS).level_now(NOW_MS) == 50
    slices.end(two, 15)
    late_ms = NOW_MS + SLICE_MS

    assert told(slices, late_ms) == [("trim", (45,))]  # what one reserved, and two used
    assert slices.lacking([(MONTH, 1)], late_ms) == [0]
    assert told(slices, late_ms) == []
    assert told(slices, NOW_MS + TOUCH_MS) == [("touch", (22,))]  # if it dies, both are charged
    assert told(slices, NOW_MS + TOUCH_MS) == []
    slices.end(one, 60)
    assert told(slices, NOW_MS + TOUCH_MS) == [("settle", (75,))]
    assert slices.open == 0
    assert told(slices, NOW_MS + 10 * TOUCH_MS) == []


@pytest.mark.parametrize("limit", [MONTH, minute(1000)])
def test_what_lies_here_unspent_is_not_in_the_level_that_is_shown(limit: Limit) -> None:
    slices, wanted = Slices("g"), [(limit, 100)]
    slices.lacking(wanted, NOW_MS)
    [asking] = slices.asking(wanted, wanted, "{acme}", NOW_MS)
    share, said = slices.share(limit, NOW_MS), Reserved(None, (300 * limit.each,))
    assert slices.reserved(asking, wanted, said, NOW_MS) is None
    assert share.level_now(NOW_MS) == 200 * limit.each
    slices.take([(limit, 30)], NOW_MS)

    assert share.level_now(NOW_MS) == 230 * limit.each


def test_a_slice_that_is_spent_and_not_needed_is_settled_at_once() -> None:
    slices, [one] = spent(100)
    slices.end(one, 100)

    assert told(slices, NOW_MS + 1) == [("settle", (100,))]
    slices.prune(NOW_MS + 61_000)
    assert slices.shares == {}


@pytest.mark.parametrize(
    ("asked", "amount", "wants"),
    [(20, 1000, 10), (21, 1000, 52), (21, 100, 25), (21, 12, 10)],
    ids=["few ask", "a quarter of a second", "a fourth of a period", "what is needed"],
)
def test_who_is_asked_often_reserves_ahead(asked: int, amount: int, wants: int) -> None:
    share = Slices("g").share(minute(amount), NOW_MS)
    for _ in range(asked):
        share.asked(10, NOW_MS)

    assert share.want(10) == wants


PLACES = Limit(key="{acme}:p", kind="c", amount=2)


@pytest.mark.parametrize(
    ("limit", "level", "count", "later_ms", "wait_ms"),
    [
        (minute(60), 0, 60, 0, 0),
        (minute(60), 3_600_000, 1, 0, 1000),
        (minute(60), 3_600_000, 1, 400, 600),
        (minute(60), 3_600_000, 100, 0, 60_000),
        (minute(7), 7 * 60_000, 1, 0, 8572),
        (MONTH, 999, 1, 0, 0),
        (MONTH, 1000, 1, 400, 86_399_600),
        (PLACES, 1, 1, 0, 0),
        (PLACES, 2, 1, 400, 300),
        (PLACES, 2, 1, 900, 1),
        (minute(60), 3_600_000, 1, 1001, 0),
    ],
)
def test_how_long_until_so_many_fit_is_said_by_a_level_of_the_last_second(
    limit: Limit, level: int, count: int, later_ms: int, wait_ms: int
) -> None:
    share = Slices("g").share(limit, NOW_MS)
    share.level, share.known_ms, share.free_ms = level, NOW_MS, NOW_MS + 700

    assert share.wait_ms(count, NOW_MS + later_ms) == wait_ms


@pytest.mark.parametrize(("wait_ms", "stands_ms"), [(1, 5), (90, 90), (60_000, 250)])
def test_a_denial_stands_as_long_as_it_says_within_bounds(wait_ms: int, stands_ms: int) -> None:
    slices, wanted = Slices("g"), [(minute(60), 5)]
    slices.lacking(wanted, NOW_MS)
    [asking] = slices.asking(wanted, wanted, "{acme}", NOW_MS)
    said = Reserved(Denied(wait_ms, 0), (3_600_000,))
    assert slices.reserved(asking, asking.least, said, NOW_MS) is None

    last, over = (slices.denied(wanted, [0], NOW_MS + at) for at in (stands_ms - 1, stands_ms))
    assert last == Denied(max(1, wait_ms - stands_ms + 1), 0)
    assert over is None
