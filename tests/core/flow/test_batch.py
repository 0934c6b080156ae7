"""Calls of several requests in one trip, before scripted engines and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import log2
from typing import Any

import pytest
from rigs.batching import Answered, Engine, Traffic, vector
from rigs.virtual import run

from modgate import order as door
from modgate.api.dialect import Outgoing
from modgate.api.plan import Call
from modgate.errors import (
    Draining,
    GatewayError,
    NoBackend,
    PluginFault,
    Refused,
    Unsupported,
    UpstreamFailed,
    UpstreamTimedOut,
)
from modgate_embedding.config import Config
from modgate_embedding.dialects import EmbeddingHome

BAD = "bad"
Got = tuple[list[list[float]], int] | BaseException


def good(texts: Sequence[str]) -> Answered:
    return Answered()


def picky(texts: Sequence[str]) -> Answered:
    return Answered(status=400 if any(text.startswith(BAD) for text in texts) else 200)


def broken(texts: Sequence[str]) -> Answered:
    return Answered(status=500)


async def asked(traffic: Traffic, *requests: Sequence[str]) -> list[Got]:
    """Requests at once; what each gets."""
    return await asyncio.gather(
        *(traffic.ask(*texts) for texts in requests), return_exceptions=True
    )


def their_own(requests: Sequence[Sequence[str]], got: Sequence[Got]) -> bool:
    """Each got the vectors of its own texts, in order."""
    mine = [[vector(text) for text in texts] for texts in requests]
    return [each[0] if isinstance(each, tuple) else each for each in got] == mine


# --- one trip


def test_calls_wait_only_while_no_slot_is_free() -> None:
    engine, requests = Engine(good), [[f"text {n}"] for n in range(9)]

    async def main() -> list[Got]:
        traffic = Traffic(engine, slots=1)
        got = await asked(traffic, *requests)
        assert traffic.idle()
        return got

    assert their_own(requests, run(main()))
    assert [len(call) for call in engine.calls] == [1, 8]


def test_tokens_of_a_trip_are_shared_out_to_the_last_one() -> None:
    engine, requests = Engine(good), [["a" * n, "b"] for n in range(1, 30)]

    async def main() -> list[Got]:
        return await asked(Traffic(engine), *requests)

    got = run(main())
    assert their_own(requests, got)
    assert sum(each[1] for each in got if isinstance(each, tuple)) == engine.read


def test_callers_of_other_regions_share_no_trip() -> None:
    engine = Engine(good)

    async def main() -> list[object]:
        traffic = Traffic(engine)
        regions = [None, frozenset({""}), frozenset({"eu"})]
        trips = [traffic.trip(f"{n % 3}", regions=regions[n % 3]) for n in range(12)]
        got = await asyncio.gather(*(trip.next() for trip in trips), return_exceptions=True)
        assert traffic.idle()
        return [type(each) for each in got[2::3]]

    assert run(main()) == [NoBackend] * 4
    assert all(len(set(call)) == 1 for call in engine.calls)
    assert sum(map(len, engine.calls)) == 8


def test_tenants_that_may_share_ride_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "batch_group", lambda caller: None)
    engine = Engine(good)

    async def main() -> None:
        traffic = Traffic(engine, slots=1, config=Config(trip_items=4))
        many = [traffic.ask(f"many {n}", tenant="many") for n in range(10)]
        few = [traffic.ask(f"few {n}", tenant="few") for n in range(2)]
        await asyncio.gather(*many, *few)

    run(main())
    assert engine.calls[1] == ["many 1", "few 0", "many 2", "few 1"]
    assert engine.calls[2] == ["many 3", "many 4", "many 5", "many 6"]


def test_a_long_call_is_not_overtaken_by_its_own_tenants_short_ones() -> None:
    engine = Engine(good)
    requests = [["first"], ["a"] * 3, ["b"] * 3, ["c"]]

    async def main() -> list[Got]:
        traffic = Traffic(engine, slots=1, config=Config(trip_items=4))
        return await asked(traffic, *requests)

    assert their_own(requests, run(main()))
    assert [len(call) for call in engine.calls] == [1, 3, 4]


def test_who_has_no_room_does_not_keep_other_tenants_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "batch_group", lambda caller: None)
    engine = Engine(good)

    async def main() -> None:
        traffic = Traffic(engine, slots=1, config=Config(trip_items=4))
        first = traffic.ask("first", tenant="few"), traffic.ask("second", tenant="few")
        long = traffic.ask("a", "b", "c", "d", tenant="many")
        await asyncio.gather(*first, long, traffic.ask("third", tenant="few"))

    run(main())
    assert engine.calls[1] == ["second", "third"]


def test_an_engine_carries_the_work_of_all_members() -> None:
    async def main() -> float:
        traffic = Traffic(Engine(good), slots=1)
        tasks = [asyncio.ensure_future(traffic.ask("abc" * n)) for n in (1, 2, 3, 4)]
        await asyncio.sleep(0.015)
        work = sum(standing.work for standing in traffic.state.standings.values())
        await asyncio.gather(*tasks)
        return work

    assert run(main()) == 2 + 3 + 4


# --- a trip that fails


@pytest.mark.parametrize("place", [0, 13, 31])
def test_of_a_refused_trip_only_the_culprit_is_refused(place: int) -> None:
    engine = Engine(picky)
    requests = [[f"{BAD if n == place else 'good'} {n}"] for n in range(32)]

    async def main() -> list[Got]:
        traffic = Traffic(engine, slots=1)
        first = asyncio.ensure_future(traffic.ask("the one before"))
        await asyncio.sleep(0)
        got = await asked(traffic, *requests)
        await first
        assert traffic.idle()
        return got

    got = run(main())
    culprit = got.pop(place)
    assert isinstance(culprit, Refused)
    assert their_own([each for n, each in enumerate(requests) if n != place], got)
    assert len(engine.calls) - 2 <= 2 * log2(32)


def test_a_trip_that_an_engine_fails_goes_whole_to_another_once() -> None:
    engines = [Engine(broken, slots=1), Engine(good, slots=1)]
    requests = [[f"text {n}"] for n in range(20)]

    async def main() -> list[Got]:
        traffic = Traffic(*engines, slots=1)
        got = await asked(traffic, *requests)
        assert traffic.idle()
        return got

    assert their_own(requests, run(main()))
    failed = [call for call in engines[0].calls if len(call) > 1]
    assert all(call in engines[1].calls for call in failed)
    assert sum(len(call) for call in engines[1].calls) == 20


def test_members_of_a_trip_that_fails_twice_fail_and_may_be_sent_again() -> None:
    engines = [Engine(broken, slots=1), Engine(broken, slots=1)]

    async def main() -> list[Got]:
        traffic = Traffic(*engines, slots=1)
        got = await asked(traffic, *[[f"text {n}"] for n in range(20)])
        assert traffic.idle()
        return got

    got = run(main())
    assert [type(each) for each in got] == [UpstreamFailed] * 20
    assert all(isinstance(each, GatewayError) and each.retryable for each in got)
    # Each text went out twice at most, and not one by one.
    calls = [*engines[0].calls, *engines[1].calls]
    assert sum(len(call) for call in calls) <= 40
    assert len(calls) <= 8


def test_a_half_that_an_engine_fails_goes_elsewhere_too() -> None:
    failed: list[Sequence[str]] = []

    def fails_once(texts: Sequence[str]) -> Answered:
        if texts == ["2"]:
            return Answered(seconds=0.5)
        if texts != ["a", "b"] or failed:
            return picky(texts)
        failed.append(texts)
        return broken(texts)

    engines = [Engine(fails_once, slots=1), Engine(fails_once, slots=1)]

    async def main() -> list[Got]:
        traffic = Traffic(*engines, slots=1)
        got = await asked(traffic, ["1"], ["2"], ["a"], ["b"], [BAD], ["c"])
        assert traffic.idle()
        return got

    got = run(main())
    assert isinstance(got.pop(4), Refused)
    assert their_own([["1"], ["2"], ["a"], ["b"], ["c"]], got)
    assert failed == [["a", "b"]]
    assert [["a", "b"] in engine.calls for engine in engines] == [True, True]


def test_nobody_waits_longer_in_a_trip_than_alone() -> None:
    def stuck(texts: Sequence[str]) -> Answered:
        return Answered(seconds=1.0 if texts == ["first"] else 1e6)

    async def main() -> tuple[list[Got], float]:
        traffic = Traffic(Engine(stuck, slots=1), slots=1)
        got = await asked(traffic, ["first"], ["short"], ["long"] * 20)
        assert traffic.idle()
        return got, asyncio.get_running_loop().time()

    got, ended_s = run(main())
    assert [type(each) for each in got[1:]] == [UpstreamTimedOut] * 2
    assert ended_s == pytest.approx(1.0 + 60.25, abs=0.1)


def test_what_a_dialect_cannot_say_is_refused_and_spoils_nobodys_trip() -> None:
    class Picky(EmbeddingHome):
        def encode(self) -> Outgoing:
            if any(text.startswith(BAD) for text in self.call.body.member("input", [])):
                raise Unsupported("'input': not here", "input")
            return super().encode()

    engine, requests = Engine(good), [["a"], ["b"], ["c"], [BAD], ["d"]]

    async def main() -> list[Got]:
        traffic = Traffic(engine, slots=1, dialect=Picky)
        got = await asked(traffic, *requests)
        assert traffic.idle()
        return got

    got = run(main())
    refused = got.pop(3)
    assert isinstance(refused, Refused)
    assert refused.field == "input"
    assert their_own([["a"], ["b"], ["c"], ["d"]], got)


def test_a_fault_in_merge_keeps_no_slot() -> None:
    async def main() -> list[Got]:
        traffic = Traffic(Engine(good), slots=1)
        object.__setattr__(traffic.batch, "merge", lambda calls: 1 / 0)
        got = await asked(traffic, ["a"], ["b"], ["c"])
        assert traffic.idle()
        return got

    got = run(main())
    assert isinstance(got[0], tuple)
    assert [type(each) for each in got[1:]] == [PluginFault] * 2


def test_a_fault_in_the_merge_of_a_half_keeps_no_slot() -> None:
    async def main() -> list[Got]:
        traffic = Traffic(Engine(picky), slots=1)
        merge, merged = traffic.batch.merge, list[int]()

        def failing(calls: Sequence[Call]) -> Call:
            merged.append(len(calls))
            return merge(calls) if len(merged) == 1 else merge(calls[:0])

        object.__setattr__(traffic.batch, "merge", failing)
        got = await asked(traffic, ["a"], [BAD], ["c"], ["d"], ["e"])
        assert traffic.idle()
        return got

    got = run(main())
    assert [type(each) for each in got[1:]] == [PluginFault] * 4


# --- members that leave


def test_a_trip_that_is_stopped_before_it_began_keeps_no_slot() -> None:
    async def main() -> list[Got]:
        traffic = Traffic(Engine(good), slots=1)
        start = traffic.batcher._start

        def stopped(trip: Any, lease: Any) -> None:
            start(trip, lease)
            trip.task.cancel()

        object.__setattr__(traffic.batcher, "_start", stopped)
        got = await asked(traffic, ["a"], ["b"], ["c"])
        assert traffic.idle()
        return got

    assert [type(each) for each in run(main())] == [tuple, Draining, Draining]


def test_who_leaves_while_a_trip_takes_it_along_is_not_in_it() -> None:
    engine = Engine(good, slots=1)

    async def main() -> list[Got]:
        traffic = Traffic(engine, slots=1)
        companions = traffic.fleet.waiting.companions

        def leaving(*given: Any) -> Sequence[object]:
            if taken := companions(*given):
                tasks[2].cancel()
            return taken

        object.__setattr__(traffic.fleet.waiting, "companions", leaving)
        tasks = [asyncio.ensure_future(traffic.ask(text)) for text in ("first", "a", "b", "c")]
        got = await asyncio.gather(*tasks, return_exceptions=True)
        assert traffic.idle()
        return got

    assert [type(each) for each in run(main())] == [tuple, tuple, asyncio.CancelledError, tuple]
    assert ["a", "c"] in engine.calls


def test_a_trip_that_everybody_left_stops() -> None:
    engine = Engine(lambda texts: Answered(seconds=1.0 if len(texts) == 1 else 50.0), slots=1)

    async def main() -> float:
        traffic = Traffic(engine, slots=1)
        first = asyncio.ensure_future(traffic.ask("first"))
        tasks = [asyncio.ensure_future(traffic.ask(f"{n}")) for n in range(5)]
        await asyncio.sleep(2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(first, *tasks, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert engine.flying == 0
        assert traffic.idle()
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(2.0)


def test_who_left_before_the_trip_is_not_in_it() -> None:
    engine = Engine(lambda texts: Answered(seconds=1.0), slots=1)

    async def main() -> list[Got]:
        traffic = Traffic(engine, slots=1)
        tasks = [asyncio.ensure_future(traffic.ask(text)) for text in ("first", "a", "b", "c")]
        await asyncio.sleep(0.5)
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(run(main())[2], asyncio.CancelledError)
    assert engine.calls == [["first"], ["a", "c"]]


def test_a_batcher_that_closes_leaves_nobody_waiting() -> None:
    engine = Engine(lambda texts: Answered(seconds=0.0 if len(texts) == 1 else 60.0), slots=1)

    async def main() -> list[Got]:
        traffic = Traffic(engine, slots=1)
        tasks = [asyncio.ensure_future(traffic.ask(f"{n}")) for n in range(4)]
        await asyncio.sleep(1)
        await traffic.batcher.close()
        got = await asyncio.gather(*tasks, return_exceptions=True)
        assert traffic.idle()
        return got

    assert [isinstance(each, GatewayError) for each in run(main())] == [False, True, True, True]
