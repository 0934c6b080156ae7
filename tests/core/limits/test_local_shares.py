"""A gateway's share of a limit while the store is away, and what it owes when the store is back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from rigs.accounts import BEGAN_MS, DEADLINE_S, Fleet, bucket
from rigs.virtual import virtually

from modgate.errors import Unasked
from modgate.limits.levels import KEPT_MS, Denied, Limit
from modgate.limits.local_shares import LocalShares, Seed
from modgate.limits.shared import Miss, SharedAccount
from modgate.limits.slices import FRESH_MS, Slices
from modgate.limits.store_link import StoreLink

HALF = replace(bucket(100), amount=50, burst=50)


@pytest.mark.parametrize(
    ("at_store", "later_ms", "level", "owed"),
    [
        (0, 500, 35_000, 35_000),  # nobody else: what leaked here is gone
        (25_000, 500, 35_000, 41_250),  # others filled a quarter: a quarter of what leaked
        (200_000, 500, 35_000, 60_000),  # they filled all of it, and more: all, and no more
        (200_000, 3000, 0, 50_000),  # but of the last second only
    ],
)
def test_what_leaked_of_a_share_is_owed_as_far_as_others_filled_the_whole(
    at_store: int, later_ms: int, level: int, owed: int
) -> None:
    seed = Seed(limit=bucket(100), part=HALF, level=0, at_ms=BEGAN_MS, whole=0, taken=60)

    assert seed.owed(level, at_store, BEGAN_MS + later_ms) == owed


def test_what_the_store_still_holds_of_the_beginning_is_not_owed_again() -> None:
    seed = Seed(limit=bucket(100), part=HALF, level=40_000, at_ms=BEGAN_MS, whole=80_000, taken=10)

    assert seed.left(BEGAN_MS + 400) == 20_000
    assert seed.owed(30_000, 40_000, BEGAN_MS + 400) == 10_000


def test_what_leaked_is_owed_up_to_what_was_used_and_not_what_was_reserved() -> None:
    limit = bucket(100)
    alone = LocalShares(Slices("g"))
    assert alone.reserve("r", [(limit, 10)], [0], BEGAN_MS) is None
    alone.settle("r", [(limit, 10)], [7], BEGAN_MS)

    filled = {limit.key: 100 * limit.period_ms}
    assert alone.due(filled, BEGAN_MS + 500) == [(limit, 7)]


def test_one_limit_that_is_closed_without_the_store_refuses_whatever_the_others_admit() -> None:
    alone, open_ = (
        LocalShares(Slices("g")),
        replace(bucket(100), key="{acme}:open", when_down="open"),
    )
    closed = replace(bucket(100), key="{acme}:closed", when_down="closed")

    with pytest.raises(Unasked):
        alone.reserve("r", [(open_, 10), (closed, 10)], [0, 1], BEGAN_MS)
    assert alone.reserve("s", [(open_, 10), (closed, 10)], [0], BEGAN_MS) is None


@pytest.mark.parametrize("used", [0, 7, 80])
def test_what_was_used_is_owed_and_not_what_was_reserved_whatever_admitted_it(used: int) -> None:
    alone, local = LocalShares(Slices("g")), bucket(100)
    open_ = replace(local, key="{acme}:open", when_down="open")
    both = [(open_, 50), (local, 60)]
    assert alone.reserve("r", both, [0, 1], BEGAN_MS) is None
    assert alone.reserve("s", [(open_, 90)], [0], BEGAN_MS) is None  # as much as is asked for
    alone.settle("r", both, [used, 20], BEGAN_MS)
    alone.settle("s", [(open_, 90)], [1], BEGAN_MS)

    owed = alone.due({open_.key: 0, local.key: 0}, BEGAN_MS)
    assert owed == [(open_, used + 1), (local, 20)]


def test_a_level_is_told_of_the_whole() -> None:
    limit = bucket(100)
    alone = LocalShares(Slices("g"), alive=2)
    assert alone.reserve("r", [(limit, 10)], [0], BEGAN_MS) is None

    assert alone.level(limit, BEGAN_MS) == 20 * limit.period_ms
    assert alone.wait_ms(limit, 50, BEGAN_MS) == 200
    assert alone.reserve("s", [(limit, 41)], [0], BEGAN_MS) is not None


@virtually
async def test_what_is_charged_without_a_reservation_is_told_to_the_store() -> None:
    fleet, limit = Fleet(gateways=1), bucket(100)
    [one] = fleet.accounts
    one.charge(limit, 30, fleet.clock.ms)
    one.charge(limit, -10, fleet.clock.ms)
    month = Limit(key="{acme}:m", kind="w", amount=900, period_ms=BEGAN_MS + 86_400_000)
    one.charge(month, 7, fleet.clock.ms)
    await one.tick()
    await one.tick()

    assert fleet.store.levels.level(limit, fleet.clock.ms) == 20 * limit.period_ms
    for _ in range(2):  # the store knows no report for longer
        fleet.clock.ms += KEPT_MS
        await one.tick()
        await fleet.ask(one, [(limit, 1)])
    assert fleet.store.levels.level(month, fleet.clock.ms) == 7


@virtually
async def test_a_bucket_of_a_machine_that_slept_is_as_full_at_the_store_as_any() -> None:
    fleet, limit = Fleet(gateways=1), bucket(9, period_ms=60_000)
    [one] = fleet.accounts
    one.link.ahead_ms = lambda: 5 * 86_400_000  # of windows, which end by the time of day
    assert isinstance(await fleet.ask(one, [(limit, 1)]), str)

    assert 0 < fleet.store.levels.level(limit, fleet.clock.ms) <= limit.full


@virtually
async def test_what_the_store_charged_and_said_too_late_is_given_back() -> None:
    fleet = Fleet(gateways=1, deadline_s=0.1)
    month = Limit(key="{acme}:m", kind="w", amount=900, period_ms=BEGAN_MS + 86_400_000)
    [one] = fleet.accounts
    fleet.store.away_s = 0.15
    assert await fleet.ask(one, [(month, 300)], "r") == "r"
    assert fleet.store.levels.level(month, fleet.clock.ms) == 300
    one.settle("r", [(month, 300)], [40], fleet.clock.ms)
    fleet.store.away_s = 0.0
    await one.tick()

    assert fleet.store.levels.level(month, fleet.clock.ms) == 40
    assert not one._fetcher.orphans


@virtually
async def test_a_store_that_falls_silent_is_noticed_by_who_reports_and_no_request_waits() -> None:
    fleet, limit = Fleet(gateways=1), bucket(100)
    [one], loop = fleet.accounts, asyncio.get_running_loop()
    fleet.store.paused = True
    for _ in range(10):
        fleet.clock.ms += 1000
        await one.tick()
    began = loop.time()
    said = await fleet.ask(one, [(limit, 1)])

    assert one.down
    assert isinstance(said, str)
    assert loop.time() == began


@virtually
async def test_a_store_that_was_never_there_leaves_each_of_the_replicas_its_part() -> None:
    fleet, limit = Fleet(gateways=0), bucket(20, period_ms=3_600_000)
    one = SharedAccount(StoreLink(fleet.store, DEADLINE_S), "g", fleet.clock.now_ms, replicas=4)
    fleet.store.paused = True
    one.start()
    said = [await fleet.ask(one, [(limit, 1)]) for _ in range(9)]
    await one.close()

    assert [isinstance(each, str) for each in said] == [True] * 5 + [False] * 4


@virtually
async def test_places_are_this_gateways_share_and_come_free() -> None:
    fleet = Fleet(gateways=1)
    limit = Limit(key="{acme}:tenant:in_flight", kind="c", amount=5)
    [one] = fleet.accounts
    fleet.store.paused = True
    said = [await fleet.ask(one, [(limit, 1)]) for _ in range(9)]
    held = [each for each in said if isinstance(each, str)]
    assert len(held) == 5
    for rid in held[:2]:
        one.settle(rid, [(limit, 1)], [1], fleet.clock.ms)
    again = [await fleet.ask(one, [(limit, 1)]) for _ in range(4)]

    assert [isinstance(each, str) for each in again] == [True, True, False, False]


@virtually
async def test_places_that_the_store_gave_count_when_it_is_away() -> None:
    fleet = Fleet(gateways=2)
    limit = Limit(key="{acme}:tenant:in_flight", kind="c", amount=6)
    one, _ = fleet.accounts
    for _ in range(2):
        await fleet.ticked()
        fleet.clock.ms += 1000
    held = [await fleet.ask(one, [(limit, 1)]) for _ in range(2)]
    fleet.store.paused = True
    said = [await fleet.ask(one, [(limit, 1)]) for _ in range(4)]
    assert [isinstance(each, str) for each in said] == [True, False, False, False]
    one.settle(str(held[0]), [(limit, 1)], [1], fleet.clock.ms)
    again = [await fleet.ask(one, [(limit, 1)]) for _ in range(2)]

    assert [isinstance(each, str) for each in again] == [True, False]


def test_each_of_several_limits_is_settled_to_what_was_used_of_it() -> None:
    alone = LocalShares(Slices("g"))
    free = bucket(100, name="free", when_down="open")
    kept = bucket(100, name="kept")
    wanted = [(Limit(key="{acme}:in_flight", kind="c", amount=1), 1), (free, 10), (kept, 10)]
    assert alone.reserve("r", wanted, [0, 1, 2], BEGAN_MS) is None
    assert alone.reserve("s", wanted, [0, 1, 2], BEGAN_MS) is not None
    alone.settle("r", wanted, [1, 7, 3], BEGAN_MS)

    levels = [alone.level(limit, BEGAN_MS) // limit.period_ms for limit in (free, kept)]
    assert levels == [7, 3]
    assert alone.reserve("s", wanted, [0, 1, 2], BEGAN_MS) is None


@virtually
async def test_what_slow_requests_hold_of_a_bucket_is_as_full_as_it_is_and_no_place() -> None:
    fleet, limit = Fleet(gateways=2), bucket(100, period_ms=3_600_000)
    one, _ = fleet.accounts
    for _ in range(2):
        await fleet.ticked()
        fleet.clock.ms += 1000
    assert await fleet.ask(one, [(limit, 60)], "slow") == "slow"
    fleet.store.paused = True

    said = [await fleet.ask(one, [(limit, 10)]) for _ in range(3)]  # of a half of forty
    assert [isinstance(each, str) for each in said] == [True, True, False]


@virtually
async def test_who_was_denied_without_the_store_is_not_remembered() -> None:
    fleet, limit = Fleet(gateways=1), bucket(1)
    [one] = fleet.accounts
    fleet.store.paused = True
    said = [await fleet.ask(one, [(limit, 1)]) for _ in range(3)]

    assert [isinstance(each, str) for each in said] == [True, False, False]
    assert not one._unfetched


@virtually
async def test_who_came_without_the_store_and_ends_when_it_is_back_is_charged_what_it_used() -> (
    None
):
    fleet, limit = Fleet(gateways=1), bucket(1000, period_ms=600_000)
    [one] = fleet.accounts
    fleet.store.paused = True
    rids = [await fleet.ask(one, [(limit, 10)]) for _ in range(12)]
    fleet.store.paused = False
    for _ in range(2):
        fleet.clock.ms += 2000
        await one.tick()
    assert not one.down
    for rid in rids:
        assert isinstance(rid, str)
        one.settle(rid, [(limit, 10)], [7], fleet.clock.ms)
    await one.tick()

    used = 12 * 7 - 4000 * limit.amount // limit.period_ms
    level = fleet.store.levels.level(limit, fleet.clock.ms) // limit.period_ms
    assert level == pytest.approx(used, abs=1)


@virtually
async def test_while_the_store_is_down_what_is_told_of_a_limit_is_what_is_kept_here() -> None:
    fleet, limit = Fleet(gateways=1), bucket(20, period_ms=3_600_000)
    [one] = fleet.accounts
    said = [await fleet.ask(one, [(limit, 1)])]
    one.look([limit], fleet.clock.ms)  # is known
    fleet.store.paused = True
    said += [await fleet.ask(one, [(limit, 1)]) for _ in range(20)]

    assert one.down
    assert [isinstance(each, str) for each in said] == [True] * 20 + [False]
    assert said[-1] == Denied(one.wait_ms(limit, 1, fleet.clock.ms), 0)
    assert one.level(limit, fleet.clock.ms) == 20 * limit.period_ms
    for rid in (str(said[-2]), "nobody"):
        one.touch(rid, [1])  # there is nobody to tell
    fleet.clock.ms += 2 * FRESH_MS
    one.look([limit], fleet.clock.ms)  # there is nobody to ask


@virtually
async def test_a_look_at_a_store_that_does_not_answer_waits_once() -> None:
    fleet, limit = Fleet(gateways=1), bucket(100)
    [one] = fleet.accounts
    fleet.store.paused = True
    with pytest.raises(Miss) as missed:
        one.look([limit], fleet.clock.ms)
    await one.fetch(missed.value)

    assert not one.down
    one.look([limit], fleet.clock.ms)  # of this request; the next one asks again
    with pytest.raises(Miss):
        one.look([limit], fleet.clock.ms)
