"""Several gateways at one store: what they admit together, and what is left when they end."""

from __future__ import annotations

import asyncio

import pytest
from rigs.accounts import BEGAN_MS, Fleet, bucket
from rigs.virtual import virtually

from modgate.errors import Unasked
from modgate.limits.levels import Denied, Kind, Limit, Wanted, WhenDown
from modgate.limits.slices import RECORD_MS, SLICE_MS
from modgate.limits.store import Reserved


@pytest.mark.parametrize("paused", [False, True])
@virtually
async def test_three_gateways_at_twice_the_limit_admit_the_limit_and_no_more(paused: bool) -> None:
    fleet, limit = Fleet(), bucket(500)
    await fleet.load(3, [limit], per_step=10)
    fleet.store.paused = paused
    before = len(fleet.admitted)
    await fleet.load(6, [limit], per_step=10)
    fleet.store.paused = False
    while any(account.down for account in fleet.accounts):
        await fleet.load(1, [limit], per_step=10)
    await fleet.load(15, [limit], per_step=10)  # an outage may cost a second of the rate

    seconds = (fleet.clock.ms - BEGAN_MS) / 1000 - 3
    sustained = sum(size for _, size in fleet.admitted[before:]) / seconds
    assert sustained >= 0.95 * 500
    for window_ms in (1000, 3000, 10_000):  # burst + rate x (window + a slice's life)
        assert fleet.most_in(window_ms) <= 500 + 500 * (window_ms + SLICE_MS) / 1000


@pytest.mark.slow
@virtually
async def test_gateways_that_lose_the_store_one_by_one_admit_no_more_together() -> None:
    fleet, limit = Fleet(), bucket(500)
    stores = fleet.apart()
    await fleet.load(3, [limit], per_step=10)
    for turn in range(9):
        stores[turn % 3].paused = True
        await fleet.load(1, [limit], per_step=10)
        stores[turn % 3].paused = False
        await fleet.load(2.5, [limit], per_step=10)

    seconds = (fleet.clock.ms - BEGAN_MS) / 1000
    for window_ms in (1000, 3000, 10_000, 30_000):
        assert fleet.most_in(window_ms) <= 500 + 500 * (window_ms + SLICE_MS) / 1000
    assert len(fleet.admitted) >= 0.95 * 500 * seconds


@virtually
async def test_the_store_keeps_a_window_by_the_wall_clock_also_of_a_machine_that_slept() -> None:
    fleet, slept_ms = Fleet(gateways=1), 5 * 86_400_000
    [account] = fleet.accounts
    account.link.ahead_ms = lambda: slept_ms
    month = Limit(key="{acme}:m", kind="w", amount=9, period_ms=BEGAN_MS + 1000)
    await fleet.ask(account, [(month, 1)])
    fleet.store.levels.charge(month, 0, BEGAN_MS + slept_ms)

    assert fleet.store.levels.level(month, BEGAN_MS + slept_ms) > 0


@virtually
async def test_a_busy_limit_rarely_asks_the_store() -> None:
    fleet, limit = Fleet(), bucket(10_000)
    await fleet.load(2, [limit], per_step=10)
    before = fleet.store.trips
    await fleet.load(2, [limit], per_step=10)

    assert len(fleet.admitted) == 4000
    assert fleet.store.trips - before < 2000 * 0.05


@virtually
async def test_a_limit_that_is_asked_for_twice_over_rarely_asks_the_store() -> None:
    fleet, limit = Fleet(), bucket(500)
    await fleet.load(3, [limit], per_step=10)
    before = fleet.store.trips
    await fleet.load(3, [limit], per_step=10)

    assert fleet.store.trips - before < 3000 * 0.1


@virtually
async def test_a_limit_that_few_ask_for_is_charged_request_by_request() -> None:
    fleet, limit = Fleet(), bucket(3, period_ms=60_000)
    [one, two, three] = fleet.accounts
    said = [await fleet.ask(each, [(limit, 1)]) for each in (one, two, three, one)]

    assert [isinstance(each, str) for each in said] == [True, True, True, False]
    assert said[3] == Denied(20_000, 0)


@virtually
async def test_who_asks_again_is_told_how_long_it_is_still_and_the_store_is_not_asked() -> None:
    fleet, limit = Fleet(gateways=1), bucket(3, period_ms=60_000)
    [one] = fleet.accounts
    first = [await fleet.ask(one, [(limit, 1)]) for _ in range(4)]
    trips = fleet.store.trips
    fleet.clock.ms += 100
    again = await fleet.ask(one, [(limit, 1)])

    assert (first[-1], again) == (Denied(20_000, 0), Denied(19_900, 0))
    assert fleet.store.trips == trips


@virtually
async def test_all_limits_of_a_request_are_charged_or_none() -> None:
    fleet = Fleet()
    wide, narrow = bucket(100, name="wide"), bucket(1, name="narrow")
    [one, two, _] = fleet.accounts
    assert isinstance(await fleet.ask(one, [(narrow, 1)]), str)

    said = await fleet.ask(two, [(wide, 10), (narrow, 1)])

    assert isinstance(said, Denied)
    assert said.index == 1
    assert fleet.store.levels.level(wide, fleet.clock.ms) == 0


@virtually
async def test_how_long_a_bucket_has_no_room_is_known_for_a_moment() -> None:
    fleet, limit = Fleet(gateways=1), bucket(3, period_ms=60_000)
    [one], waits = fleet.accounts, []
    for _ in range(3):
        assert isinstance(await fleet.ask(one, [(limit, 1)]), str)
        waits.append(one.wait_ms(limit, 1, fleet.clock.ms))

    later_ms = fleet.clock.ms + 1000
    assert waits == [0, 0, 20_000]
    assert [one.wait_ms(limit, n, later_ms) for n in (1, 2, 3, 9)] == [
        19_000,
        39_000,
        59_000,
        59_000,
    ]
    assert one.wait_ms(limit, 1, later_ms + 1) == 0  # others may know better by now


@virtually
async def test_a_window_that_is_spent_is_spent_to_its_end() -> None:
    fleet = Fleet(gateways=1)
    window = Limit(key="{acme}:month", kind="w", amount=10, period_ms=BEGAN_MS + 86_400_000)
    [one] = fleet.accounts
    assert isinstance(await fleet.ask(one, [(window, 10)]), str)

    assert one.wait_ms(window, 1, fleet.clock.ms) == 86_400_000


@pytest.mark.parametrize("kind", ["w", "c"])
@virtually
async def test_what_does_not_leak_is_given_to_the_last_also_while_many_ask(kind: Kind) -> None:
    fleet = Fleet(gateways=1)
    limit = Limit(key="{acme}:all", kind=kind, amount=200, period_ms=BEGAN_MS + 86_400_000)
    [one] = fleet.accounts

    said = [await fleet.ask(one, [(limit, 1)]) for _ in range(210)]

    assert [isinstance(each, str) for each in said] == [True] * 200 + [False] * 10


@virtually
async def test_a_bucket_that_was_spent_at_once_is_given_by_what_leaked_since() -> None:
    fleet, limit = Fleet(gateways=1), bucket(60, period_ms=60_000)
    [one] = fleet.accounts
    spent = [await fleet.ask(one, [(limit, 1)]) for _ in range(70)]
    later = []
    for _ in range(3):
        await fleet.load(2, [], per_step=0)
        later.append(await fleet.ask(one, [(limit, 1)]))

    assert sum(isinstance(each, str) for each in spent) == 60
    assert [isinstance(each, str) for each in later] == [True] * 3


@virtually
async def test_nobody_is_denied_what_earlier_requests_did_not_need() -> None:
    fleet = Fleet(gateways=1)
    window = Limit(key="{acme}:month", kind="w", amount=100, period_ms=BEGAN_MS + 86_400_000)
    [one] = fleet.accounts
    levels = []
    while isinstance(rid := await fleet.ask(one, [(window, 20)]), str):
        one.settle(rid, [(window, 20)], [8], fleet.clock.ms)
        levels.append(one.level(window, fleet.clock.ms))

    assert levels == [8 * used for used in range(1, (100 - 20) // 8 + 2)]
    assert fleet.store.trips < 2 * (len(levels) + 1)


@virtually
async def test_what_a_slow_request_holds_is_not_given_back() -> None:
    fleet, limit = Fleet(), bucket(100, period_ms=3_600_000)
    await fleet.ask(fleet.accounts[0], [(limit, 60)])
    await fleet.ask(fleet.accounts[0], [(limit, 40)], "quick")
    fleet.accounts[0].settle("quick", [(limit, 40)], [0], fleet.clock.ms)

    assert isinstance(await fleet.ask(fleet.accounts[0], [(limit, 41)]), Denied)
    assert isinstance(await fleet.ask(fleet.accounts[1], [(limit, 40)]), str)


@virtually
async def test_of_a_slice_that_a_slow_request_keeps_open_the_rest_goes_back() -> None:
    fleet = Fleet(gateways=1)
    month = Limit(key="{acme}:m", kind="w", amount=10_000, period_ms=BEGAN_MS + 86_400_000)
    [one] = fleet.accounts
    await fleet.load(2, [month], per_step=1)
    assert await fleet.ask(one, [(month, 1)], "slow") == "slow"
    await fleet.load(2, [], per_step=0)

    assert fleet.store.levels.level(month, fleet.clock.ms) == len(fleet.admitted) + 1


@virtually
async def test_what_was_not_used_comes_back_and_debt_is_charged() -> None:
    fleet, limit = Fleet(), bucket(600, period_ms=60_000)
    [one, *_] = fleet.accounts
    less, more = await fleet.ask(one, [(limit, 300)]), await fleet.ask(one, [(limit, 100)])
    assert isinstance(less, str)
    assert isinstance(more, str)
    one.settle(less, [(limit, 300)], [50], fleet.clock.ms)
    one.settle(more, [(limit, 100)], [900], fleet.clock.ms)
    fleet.clock.ms += SLICE_MS
    await fleet.ticked()

    spent = fleet.store.levels.level(limit, fleet.clock.ms) // limit.period_ms
    assert spent == 950 - 10
    assert one.slices.open == 0


@virtually
async def test_a_gateway_that_dies_leaves_its_last_touch_and_nothing_more() -> None:
    fleet, limit = Fleet(), bucket(600, period_ms=600_000)
    [dead, alive, _] = fleet.accounts
    rid = await fleet.ask(dead, [(limit, 500)])
    assert isinstance(rid, str)
    fleet.clock.ms += 2500
    for used in (30, 70):
        dead.touch(rid, [used])
    await dead.tick()
    assert isinstance(await fleet.ask(alive, [(limit, 400)]), Denied)

    fleet.clock.ms += RECORD_MS + 1
    await alive.tick()

    leaked = (2500 + RECORD_MS + 1) * limit.amount // limit.period_ms
    assert fleet.store.levels.level(limit, fleet.clock.ms) == pytest.approx(
        (70 - leaked) * limit.period_ms, abs=limit.period_ms
    )


@virtually
async def test_places_are_held_over_all_gateways_and_come_free() -> None:
    fleet = Fleet()
    places = Limit(key="{acme}:in_flight", kind="c", amount=4)
    said = [await fleet.ask(fleet.accounts[n % 3], [(places, 1)]) for n in range(6)]
    assert [isinstance(each, str) for each in said] == [True] * 4 + [False] * 2

    for n in range(4):
        rid = said[n]
        assert isinstance(rid, str)
        fleet.accounts[n % 3].settle(rid, [(places, 1)], [0], fleet.clock.ms)
    fleet.clock.ms += SLICE_MS
    await fleet.ticked()

    assert fleet.store.levels.level(places, fleet.clock.ms) == 0
    again = [await fleet.ask(fleet.accounts[2], [(places, 1)]) for _ in range(5)]
    assert [isinstance(each, str) for each in again] == [True] * 4 + [False]


@virtually
async def test_a_store_that_breaks_is_as_one_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    fleet, limit = Fleet(gateways=1), bucket(20, period_ms=3_600_000)
    [one] = fleet.accounts

    async def breaks(rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        raise ValueError("what is that")

    fleet.store.reserve = breaks  # type: ignore[method-assign]  # as a driver with a bug would
    said = [await fleet.ask(one, [(limit, 1)]) for _ in range(30)]

    assert sum(isinstance(each, str) for each in said) == 20
    assert one.down
    broke = ["limit store broke"] * 5
    assert [record.message for record in caplog.records] == [*broke, "limit store down"]


@pytest.mark.parametrize(("when_down", "passes"), [("open", True), ("closed", False)])
@virtually
async def test_a_limit_does_as_it_says_while_the_store_is_down(
    when_down: WhenDown, passes: bool
) -> None:
    fleet, limit = Fleet(gateways=1), bucket(2, 60_000, when_down=when_down)
    [one] = fleet.accounts
    fleet.store.paused = True
    said = []
    for _ in range(20):
        try:
            said.append(isinstance(await fleet.ask(one, [(limit, 1)]), str))
        except Unasked:
            said.append(False)

    assert said == [passes] * 20


@pytest.mark.parametrize("before", [0, 40])
@virtually
async def test_what_a_window_lost_without_the_store_is_told_once_when_it_is_back(
    before: int,
) -> None:
    fleet = Fleet(gateways=1)
    window = Limit(key="{acme}:month", kind="w", amount=900, period_ms=BEGAN_MS + 86_400_000)
    [one] = fleet.accounts

    async def spend(times: int) -> None:
        for _ in range(times):
            rid = await fleet.ask(one, [(window, 10)])
            assert isinstance(rid, str)
            one.settle(rid, [(window, 10)], [7], fleet.clock.ms)

    await spend(before)
    fleet.store.paused = True
    await spend(12)
    assert one.down
    fleet.store.paused = False
    await fleet.load(5, [], per_step=0)

    assert not one.down
    assert fleet.store.levels.level(window, fleet.clock.ms) == 7 * (before + 12)


@virtually
async def test_what_was_used_without_the_store_is_told_when_it_is_back() -> None:
    fleet, limit = Fleet(gateways=1), bucket(1000, period_ms=600_000)
    [one] = fleet.accounts
    fleet.store.paused = True
    rids = [await fleet.ask(one, [(limit, 10)]) for _ in range(12)]
    assert one.down
    for rid in rids[:6]:
        assert isinstance(rid, str)
        one.settle(rid, [(limit, 10)], [7], fleet.clock.ms)
    fleet.store.paused = False
    for _ in range(2):
        fleet.clock.ms += 2000
        await one.tick()

    assert not one.down
    used = 6 * 7 + 6 * 10 - 4000 * limit.amount // limit.period_ms
    level = fleet.store.levels.level(limit, fleet.clock.ms) // limit.period_ms
    assert level == pytest.approx(used, abs=1)


@virtually
async def test_closing_gives_back_what_is_in_hand() -> None:
    fleet, limit = Fleet(gateways=1), bucket(1000, period_ms=600_000)
    [one] = fleet.accounts
    rid = await fleet.ask(one, [(limit, 400)])
    assert isinstance(rid, str)
    one.settle(rid, [(limit, 400)], [5], fleet.clock.ms)
    await one.close()

    assert fleet.store.levels.level(limit, fleet.clock.ms) == 5 * limit.period_ms
    assert one.slices.open == 0


@virtually
async def test_a_request_is_charged_once_however_often_it_is_reserved_and_settled() -> None:
    fleet, limit = Fleet(gateways=1), bucket(1000, period_ms=600_000)
    [one], wanted = fleet.accounts, [(limit, 300)]
    assert [await fleet.ask(one, wanted, "r") for _ in range(2)] == ["r", "r"]
    for rid, used in ("r", 50), ("r", 500), ("nobody", 70):
        one.settle(rid, wanted, [used], fleet.clock.ms)
    await one.close()

    assert fleet.store.levels.level(limit, fleet.clock.ms) == 50 * limit.period_ms


@virtually
async def test_a_store_that_breaks_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    fleet, limit = Fleet(gateways=1), bucket(1000)
    [one] = fleet.accounts
    join, broken = fleet.store.join, [ValueError("what is that"), ValueError("and that")]

    async def breaks(name: str, ttl_ms: int, now_ms: int = 0) -> int:
        if broken:
            raise broken.pop()
        return await join(name, ttl_ms, now_ms)

    fleet.store.join = breaks  # type: ignore[method-assign]  # as a driver with a bug would
    one.start()
    for _ in range(100):
        fleet.clock.ms += 1000
        await asyncio.sleep(1)
    await one.close()

    assert isinstance(await fleet.ask(one, [(limit, 1)]), str)
    assert [record.message for record in caplog.records] == ["limit store not told"] * 2
