"""Requests that come at once to gateways which share a limit: they wait for the store together."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs.accounts import BEGAN_MS, DEADLINE_S, Fleet, bucket
from rigs.virtual import VirtualLoop, run, virtually

from modgate.limits.breaker import FAILURES_AT_MOST
from modgate.limits.levels import Kind, Limit, Wanted
from modgate.limits.shared import SharedAccount
from modgate.limits.store import Reserved


def whole(kind: Kind, amount: int) -> Limit:
    """A limit of which nothing comes back within a test."""
    if kind == "b":
        return bucket(amount, period_ms=3_600_000)
    return Limit(key="{acme}:all", kind=kind, amount=amount, period_ms=BEGAN_MS + 86_400_000)


@pytest.mark.parametrize("kind", ["w", "b", "c"])
@virtually
async def test_a_burst_takes_all_that_there_is_and_no_more_in_a_few_trips(kind: Kind) -> None:
    fleet, limit = Fleet(gateways=3).over_a_network(), whole(kind, 300)
    asked = [fleet.ask(each, [(limit, 10)]) for _ in range(40) for each in fleet.accounts]
    said = await asyncio.gather(*asked)

    assert sum(isinstance(each, str) for each in said) == 30
    assert fleet.store.trips <= 3 * 5


@pytest.mark.slow
@settings(deadline=None)
@given(
    kind=st.sampled_from(["w", "b", "c"]),
    asked=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=60
    ),
)
def test_bursts_of_any_size_take_no_more_than_there_is(
    kind: Kind, asked: list[tuple[int, int, int]]
) -> None:
    """Requests at three gateways, some of them with a limit of their own besides, in four waves."""
    limit, other = whole(kind, 100), bucket(60, period_ms=3_600_000, name="other")

    async def ask() -> list[tuple[int, int]]:
        fleet = Fleet(gateways=3).over_a_network()

        async def one(gateway: int, count: int, wave: int) -> tuple[int, int]:
            await asyncio.sleep(wave * 0.0007)
            wanted = [(limit, count), (other, 1)] if count % 2 else [(limit, count)]
            said = await fleet.ask(fleet.accounts[gateway], wanted)
            return (count, count % 2) if isinstance(said, str) else (0, 0)

        return await asyncio.gather(*(one(*each) for each in asked))

    took = run(ask())

    assert sum(count for count, _ in took) <= 100
    assert sum(count for _, count in took) <= 60
    wanted = sum(count for _, count, _ in asked)
    if wanted <= 100:
        assert sum(count for count, _ in took) == wanted


@virtually
async def test_who_is_first_in_line_may_leave_it() -> None:
    fleet, limit = Fleet(gateways=1).over_a_network(), whole("w", 15)
    [one] = fleet.accounts
    asked = [asyncio.create_task(fleet.ask(one, [(limit, 1)])) for _ in range(20)]
    await asyncio.sleep(0.0005)
    asked[0].cancel()
    said = await asyncio.gather(*asked, return_exceptions=True)

    assert isinstance(said[0], asyncio.CancelledError)
    assert [isinstance(each, str) for each in said[1:]] == [True] * 15 + [False] * 4
    assert fleet.store.levels.level(limit, fleet.clock.ms) == 15


@pytest.mark.parametrize("steps", [1, 2, 3])
@virtually
async def test_who_waits_when_the_account_is_closed_waits_no_longer(steps: int) -> None:
    fleet, limit = Fleet(gateways=1).over_a_network(), whole("w", 15)
    [one] = fleet.accounts
    asked = [asyncio.create_task(fleet.ask(one, [(limit, 1)])) for _ in range(5)]
    for _ in range(steps):
        await asyncio.sleep(0)
    await one.close()
    _, waiting = await asyncio.wait(asked, timeout=1)

    assert not waiting


@pytest.mark.parametrize("answers", [True, False])
@virtually
async def test_a_trip_that_was_broken_off_is_over_whatever_the_stores_client_makes_of_that(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answers: bool
) -> None:
    fleet, limit = Fleet(gateways=1).over_a_network(), whole("w", 15)
    [one], reserve = fleet.accounts, fleet.store.reserve
    one.breaker.failures = FAILURES_AT_MOST - 1
    fetched: list[str] = []

    async def deaf(rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        if any(count for _, count in wanted):
            fetched.append(rid)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            if not answers:
                raise TimeoutError
        return await reserve(rid, wanted, ttl_ms, now_ms)

    monkeypatch.setattr(fleet.store, "reserve", deaf)
    asked = asyncio.create_task(fleet.ask(one, [(limit, 1)]))
    await asyncio.sleep(0.001)
    await one.close()

    assert isinstance(await asked, str)
    assert len(fetched) == 1
    assert not caplog.records


def test_requests_wait_for_a_store_that_falls_silent_once_and_none_beyond_the_deadline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def paused() -> tuple[SharedAccount, list[float]]:
        """How long each of the requests took, of which 40 come every 5 ms, in virtual seconds."""
        fleet, limit = Fleet(gateways=1), bucket(1000)
        [one], loop = fleet.accounts, asyncio.get_running_loop()
        fleet.store.paused = True

        async def took() -> float:
            began = loop.time()
            assert isinstance(await fleet.ask(one, [(limit, 1)]), str)
            return loop.time() - began

        asked: list[asyncio.Task[float]] = []
        for _ in range(20):
            asked += [asyncio.create_task(took()) for _ in range(40)]
            await asyncio.sleep(0.005)
        return one, await asyncio.gather(*asked)

    one, tooks = run(paused())

    waited = [each for each in tooks if each]
    assert 40 <= len(waited) <= 40 * round(DEADLINE_S / 0.005)
    assert max(waited) == pytest.approx(0.025)  # Source: algorithms.md 3.4
    assert one.down
    assert [record.message for record in caplog.records] == ["limit store down"]


def test_a_store_whose_answer_lies_unread_in_a_late_loop_is_waited_for() -> None:
    async def stalled() -> tuple[SharedAccount, int]:
        fleet, limit = Fleet(gateways=1).over_a_network(), bucket(5, period_ms=3_600_000)
        [one], loop = fleet.accounts, asyncio.get_running_loop()
        asked = [asyncio.create_task(fleet.ask(one, [(limit, 1)])) for _ in range(10)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert isinstance(loop, VirtualLoop)
        loop.stall(0.1)
        said = await asyncio.gather(*asked)
        return one, sum(isinstance(each, str) for each in said)

    one, admitted = run(stalled())

    assert one.breaker.failures == 0
    assert admitted == 5
    assert one.level(bucket(5, period_ms=3_600_000), BEGAN_MS) == 5 * 3_600_000


def test_a_store_that_is_silent_is_given_up_however_late_the_loop_is() -> None:
    async def stalled() -> tuple[float, SharedAccount]:
        fleet, limit = Fleet(gateways=1), bucket(5, period_ms=3_600_000)
        [one], loop = fleet.accounts, asyncio.get_running_loop()
        fleet.store.paused = True
        assert isinstance(loop, VirtualLoop)
        began = loop.time()
        asked = asyncio.create_task(fleet.ask(one, [(limit, 1)]))
        while not asked.done():
            await asyncio.sleep(0)
            loop.stall(DEADLINE_S)
        return loop.time() - began, one

    took_s, one = run(stalled())

    assert took_s < 20 * DEADLINE_S
    assert one.breaker.failures == 0  # nobody knows whether it had answered
