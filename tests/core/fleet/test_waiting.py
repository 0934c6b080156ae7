from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs.leasing import leased

from modgate.api.select import Backend
from modgate.errors import Overloaded
from modgate.fleet import waiting
from modgate.fleet.bound import Bound, Full
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms, Unmet
from modgate.fleet.waiting import Due
from modgate.units import Units


def backend(name: str, *, slots: int = 1, region: str = "", model: str = "m") -> Backend:
    return Backend(
        name=name,
        family="home",
        url=f"http://{name}",
        serves={model: "e"},
        slots=slots,
        region=region,
        group="shared" if model != "m" or name == "grouped" else "",
    )


def fleet(*backends: Backend, now: Callable[[], float] | None = None, calls: int = 99) -> Fleet:
    return Fleet(
        backends,
        FleetState(),
        groups={"shared": 1},
        rng=random.Random(1),
        rules=QueueRules(calls=calls, share=1.0),
        now=now or (lambda: 0.0),
    )


def claim(tenant: str, work: float = 1.0, until: float = float("inf")) -> Claim:
    return Claim(tenant=tenant, request=object(), work=work, until=until)


async def held(one: Fleet, model: str = "m", wanted: Wanted | None = None) -> Lease:
    lease = await leased(one, model, wanted or Wanted())
    assert lease is not None
    return lease


@pytest.mark.parametrize(
    ("unmet", "filtered", "shapes"),
    [(None, False, 1), ("best_effort", False, 1), ("queue", False, 2), (None, True, 2)],
)
def test_calls_have_shapes_of_their_own_where_one_may_find_a_slot_that_another_does_not(
    unmet: Unmet | None, filtered: bool, shapes: int
) -> None:
    terms = None if unmet is None else Terms(slo="gold", unmet=unmet)
    calls = [Wanted(work=n, terms=terms, size=Units(input_tokens=n)) for n in (1, 1, 1000)]

    assert len({waiting.shape_of(each, filtered=filtered) for each in calls}) == shapes


async def test_a_call_that_may_go_elsewhere_passes_those_that_may_not() -> None:
    one = fleet(backend("eu", region="eu"), backend("us", region="us"))
    eu, us = [Wanted(regions=frozenset({region})) for region in ("eu", "us")]
    first = [await held(one, wanted=each) for each in (eu, us)]
    blocked = [asyncio.create_task(leased(one, "m", eu, claim("a"))) for _ in range(98)]
    free = asyncio.create_task(leased(one, "m", us, claim("a")))
    await asyncio.sleep(0)
    first[1].give_back()
    lease = await free

    assert lease is not None
    assert lease.backend.name == "us"
    assert not any(task.done() for task in blocked)
    for task in blocked:
        task.cancel()
    await asyncio.wait(blocked)
    assert one.state.queued == 0


async def test_models_that_share_slots_take_turns() -> None:
    one = fleet(backend("a", model="x", slots=9), backend("b", model="y", slots=9))
    first = await held(one, "x")
    order: list[str] = []

    async def wait(model: str) -> None:
        lease = await leased(one, model, Wanted(), claim("t"))
        assert lease is not None
        order.append(model)
        await asyncio.sleep(0)
        lease.give_back()

    tasks = [asyncio.create_task(wait(model)) for model in "xxxxyyyy"]
    await asyncio.sleep(0)
    first.give_back()
    await asyncio.gather(*tasks)

    assert order in (list("xyxyxyxy"), list("yxyxyxyx"))


async def test_who_must_go_is_told_and_when_to_come_again() -> None:
    one = fleet(backend("a"), calls=2)
    first = await held(one)
    flood = [asyncio.create_task(leased(one, "m", Wanted(), claim("flood"))) for _ in range(2)]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(leased(one, "m", Wanted(), claim("quiet")))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refused:
        await flood[1]
    assert (refused.value.retry_after or 0) >= 1
    assert refused.value.place == 2
    first.give_back()
    for task in (flood[0], quiet):
        lease = await task
        assert lease is not None
        lease.give_back()
    assert one.state.slots["http://a"].taken == 0


async def test_a_call_too_large_to_wait_leaves_nobody_waiting_behind_it() -> None:
    one = fleet(backend("a", slots=2))
    one.state.slots["http://a"].limit = 1
    first = await held(one)
    with pytest.raises(Full):
        await leased(one, "m", Wanted(), Claim(request=object(), body_bytes=1 << 40))
    one.state.slots["http://a"].limit = 2

    assert one.at_once("m", Wanted()) is not None
    first.give_back()


async def test_nobody_is_served_after_its_time() -> None:
    time = [0.0]
    one = fleet(backend("a"), now=lambda: time[0])
    first = await held(one)
    late = asyncio.create_task(leased(one, "m", Wanted(), claim("a", until=5.0)))
    fine = asyncio.create_task(leased(one, "m", Wanted(), claim("a", until=50.0)))
    await asyncio.sleep(0)
    time[0] = 6.0
    first.give_back()

    with pytest.raises(Overloaded) as refused:
        await late
    assert refused.value.place == 2  # `fine` is before it, should it come again
    assert (await fine) is not None


async def taught(one: Fleet, time: list[float], *, work: float, seconds: float) -> None:
    """Calls of so much work that took so long each, while others waited."""
    lease = await held(one, wanted=Wanted(work=work))
    for _ in range(4):
        task = asyncio.create_task(leased(one, "m", Wanted(work=work), claim("t", work)))
        await asyncio.sleep(0)
        time[0] += seconds
        lease.give_back("ok")
        granted = await task
        assert granted is not None
        lease = granted
    lease.give_back("ok")


@pytest.mark.parametrize(
    ("slots", "until_s", "least_s"),
    [(1, 5.0, 30.0), (1, 200.0, 30.0), (2, 5.0, 15.0)],
)
async def test_a_long_call_in_hand_counts_in_when_to_come_again(
    slots: int, until_s: float, least_s: float
) -> None:
    time = [0.0]
    one = fleet(backend("a", slots=slots), now=lambda: time[0])
    one.state.slots["http://a"].limit = 1
    await taught(one, time, work=10.0, seconds=1.0)
    one.state.slots["http://a"].limit = slots
    for _ in range(slots):
        await held(one, wanted=Wanted(work=300.0 / slots))
    late = claim("a", until=time[0] + until_s)
    told = one.waiting.timed_out("m", Wanted(), late).retry_after_s

    assert told is not None
    assert least_s <= told <= 1.2 * least_s


async def test_who_waited_in_vain_comes_again_no_sooner_than_an_engine_is_asked_again() -> None:
    time = [0.0]
    one = fleet(backend("a"), now=lambda: time[0])
    await taught(one, time, work=10.0, seconds=1.0)
    await held(one, wanted=Wanted(work=10.0))
    one.state.health_of("http://a").until = time[0] + 30.0
    told = one.waiting.timed_out("m", Wanted(), claim("a", until=time[0])).retry_after_s

    assert told is not None
    assert 30.0 <= told <= 36.0


async def test_who_is_sure_to_be_late_is_told_of_what_is_in_hand_too() -> None:
    time = [0.0]
    one = fleet(backend("a"), now=lambda: time[0])
    await taught(one, time, work=10.0, seconds=1.0)
    await held(one, wanted=Wanted(work=300.0))
    waits = asyncio.create_task(leased(one, "m", Wanted(), claim("a", 100.0)))
    await asyncio.sleep(0)

    with pytest.raises(Full) as refused:
        await leased(one, "m", Wanted(), claim("a", until=time[0] + 2.5))
    assert refused.value.bound == Bound(of="deadline", whose="timeouts", held=12.5, most=2.5)
    assert refused.value.place == 2
    told = refused.value.retry_after_s
    assert told is not None
    assert 40.0 <= told <= 48.0
    waits.cancel()
    await asyncio.wait([waits])


async def test_where_nobody_knows_it_is_as_long_again_as_it_waited() -> None:
    time = [100.0]
    one = fleet(backend("a"), now=lambda: time[0])
    await held(one, wanted=Wanted(work=300.0))
    waited = Claim(request=object(), since=93.0, until=100.0)
    told = one.waiting.timed_out("m", Wanted(), waited).retry_after_s

    assert told is not None
    assert 7.0 <= told <= 8.4


async def test_what_was_counted_is_owed_by_who_was_served_and_by_no_one_else() -> None:
    one = fleet(backend("a"))
    first = await held(one)
    dues: dict[str, list[Due]] = {"stays": [], "leaves": []}
    tasks = {
        name: asyncio.create_task(leased(one, "m", Wanted(), claim(name, 7.0), dues=owed))
        for name, owed in dues.items()
    }
    await asyncio.sleep(0)
    tasks["leaves"].cancel()
    await asyncio.wait([tasks["leaves"]])
    first.give_back()
    await tasks["stays"]

    assert [due.charge.work for due in dues["stays"]] == [7.0]
    assert dues["leaves"] == []


async def test_a_slot_that_is_free_because_time_passed_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "EACH_S", 0.01)
    one = fleet(backend("a"))
    one.state.slots["http://a"].elsewhere = 1
    waits = asyncio.create_task(leased(one, "m", Wanted(), claim("a")))
    await asyncio.sleep(0.03)
    assert not waits.done()
    one.state.slots["http://a"].elsewhere = 0  # and nobody says so

    async with asyncio.timeout(5):
        assert (await waits) is not None
    await asyncio.sleep(0.03)
    assert one.waiting._timer is None


def no_slot_is_idle(one: Fleet) -> None:
    """For one who waits and could use it."""
    for line in one.state.busy.values():
        shapes = [shape for shape in line._queue._shapes if isinstance(shape, tuple)]
        regions = {region for shape in shapes for region in shape[0] or ("eu", "us")}
        assert not any(one.state.slots[f"http://{region}"].free for region in regions)


async def stay(one: Fleet, tenant: str, region: str, turns: int) -> None:
    """A call that keeps its slot for so many turns of the loop."""
    regions = None if region == "any" else frozenset({region})
    lease = await leased(one, "m", Wanted(regions=regions), claim(tenant, 1.0 + turns))
    assert lease is not None
    try:
        for _ in range(turns):
            no_slot_is_idle(one)
            await asyncio.sleep(0)
    finally:
        lease.give_back()


async def play(one: Fleet, calls: list[tuple[str, str, int]]) -> list[BaseException | None]:
    """Calls come, are refused, dropped, served, and leave at any moment."""
    tasks = []
    for number, (tenant, region, turns) in enumerate(calls):
        tasks.append(asyncio.create_task(stay(one, tenant, region, turns)))
        if turns % 3 == 0:
            await asyncio.sleep(0)
        if turns == 5:
            tasks[number // 2].cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    slots=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    calls=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["eu", "us", "any"]), st.integers(0, 6)),
        min_size=1,
        max_size=25,
    ),
    most=st.integers(1, 12),
)
def test_whatever_happens_nothing_leaks_and_no_slot_is_idle_for_one_who_waits(
    slots: tuple[int, int], calls: list[tuple[str, str, int]], most: int
) -> None:
    one = fleet(
        backend("eu", region="eu", slots=slots[0]),
        backend("us", region="us", slots=slots[1]),
        calls=most,
    )
    ended = asyncio.run(play(one, calls))

    assert [e for e in ended if isinstance(e, Exception) and not isinstance(e, Overloaded)] == []
    assert [each.taken for each in one.state.slots.values()] == [0, 0]
    assert (one.state.queued, one.state.busy) == (0, {})
    line = one.state.lines["m"]
    assert (line.calls, line.work, line.body_bytes) == (0, 0.0, 0)
    assert line._rates == {}
    assert line._alike == {}
