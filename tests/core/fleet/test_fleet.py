from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs.leasing import leased

from modgate.api.select import Backend
from modgate.errors import NoBackend, Overloaded, UpstreamFailed
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.fleet import Fleet
from modgate.fleet.pick import Wanted, candidates, idlest
from modgate.fleet.slots import Seat, Slots
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms, Unmet


def fleet(*backends: Backend, state: FleetState | None = None, waiting: int = 10) -> Fleet:
    return Fleet(
        backends,
        state or FleetState(),
        groups={"local": 1},
        rng=random.Random(1),
        rules=QueueRules(calls=waiting, share=1.0),
    )


def backend(name: str, slots: int = 1, region: str = "", group: str = "") -> Backend:
    return Backend(
        name=name,
        family="home",
        url=f"http://{name}",
        serves={"m": "e"},
        slots=slots,
        region=region,
        group=group,
    )


def alike(key: str | None) -> Claim:
    return Claim(key=key, request=object())


regions = st.sampled_from(["eu", "us", "ap"])


@settings(derandomize=True, deadline=None)
@given(
    seats=st.lists(st.tuples(regions, st.integers(0, 3)), min_size=1, max_size=8),
    allowed=st.frozensets(regions, max_size=3),
    tried=st.frozensets(st.sampled_from([f"b{i}" for i in range(8)]), max_size=8),
)
def test_a_pick_never_leaves_the_callers_regions(
    seats: list[tuple[str, int]], allowed: frozenset[str], tried: frozenset[str]
) -> None:
    pool = [
        Seat(backend=f"b{i}", region=region, slots=Slots(limit=2, taken=taken))
        for i, (region, taken) in enumerate(seats)
    ]
    wanted = Wanted(regions=allowed, tried=tried)

    fit = candidates(pool, wanted)
    seat = idlest(fit, 0.0, random.Random(0)) if fit else None

    assert all(each.region in allowed for each in fit)
    assert seat is None or (seat.region in allowed and seat.free)


def test_a_backend_that_failed_the_call_is_taken_only_when_no_other_is_left() -> None:
    pool = [Seat(backend=name, region="", slots=Slots(limit=1)) for name in ("a", "b")]

    assert [s.backend for s in candidates(pool, Wanted(tried=frozenset({"a"})))] == ["b"]
    assert len(candidates(pool, Wanted(tried=frozenset({"a", "b"})))) == 2


def test_what_a_call_requires_must_be_offered_unless_nothing_is_said() -> None:
    silent = Seat(backend="a", region="", slots=Slots(limit=1))
    other = Seat(backend="b", region="", offers={"voice": frozenset({"amy"})}, slots=Slots(limit=1))
    wanted = Wanted(requires=(("voice", "bob"),))

    assert [s.backend for s in candidates([silent, other], wanted)] == ["a"]


async def test_no_backend_in_the_region_is_said_so() -> None:
    with pytest.raises(NoBackend):
        await leased(fleet(backend("a", region="us")), "m", Wanted(regions=frozenset({"eu"})))


async def test_waiting_calls_get_slots_in_the_order_they_came() -> None:
    one = fleet(backend("a"))
    first = await leased(one, "m", Wanted())
    order: list[int] = []

    async def wait(number: int) -> None:
        lease = await leased(one, "m", Wanted())
        order.append(number)
        assert lease is not None
        lease.give_back()

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert first is not None
    first.give_back()
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2, 3, 4]
    assert one.state.queued == 0


async def test_a_waiter_that_leaves_frees_its_place_and_its_slot() -> None:
    one = fleet(backend("a"))
    first = await leased(one, "m", Wanted())
    task = asyncio.create_task(leased(one, "m", Wanted()))
    await asyncio.sleep(0)
    assert first is not None
    first.give_back()  # granted to the waiter, which is cancelled before it can see it
    task.cancel()
    await asyncio.wait([task])

    assert one.state.queued == 0
    assert one.state.slots["http://a"].taken == 0


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    slots=st.integers(1, 3),
    waiting=st.integers(1, 9),
    leaving=st.permutations(range(12)),
    stay=st.integers(0, 12),
    shared=st.booleans(),
)
def test_whoever_leaves_in_one_tick_leaks_no_slot(
    slots: int, waiting: int, leaving: list[int], stay: int, shared: bool
) -> None:
    """Holders and waiters are cancelled in any order, before any of their tasks runs."""

    async def play() -> tuple[int, int, int]:
        one = fleet(backend("a", slots=slots), waiting=99)

        async def hold() -> None:
            lease = await leased(one, "m", Wanted(), alike("k" if shared else None), rider=object())
            if lease is None:
                return
            try:
                if shared:
                    one.waiting.companions("m", "k", lambda riders: riders[:1])
                await asyncio.sleep(0.001 if stay else 60)
            finally:
                lease.give_back()

        tasks = [asyncio.create_task(hold()) for _ in range(slots + waiting)]
        await asyncio.sleep(0)
        for number in [each for each in leaving if each < len(tasks)][stay:]:
            tasks[number].cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        odd = [each for each in ended if isinstance(each, Exception)]
        return one.state.slots["http://a"].taken, one.state.queued, len(odd)

    assert asyncio.run(play()) == (0, 0, 0)


async def test_a_waiter_that_was_cancelled_is_nobodys_companion() -> None:
    one = fleet(backend("a"))
    first = await leased(one, "m", Wanted())
    gone, stays = (
        asyncio.create_task(leased(one, "m", Wanted(), alike("k"), rider=name)) for name in "gs"
    )
    await asyncio.sleep(0)
    gone.cancel()

    assert one.waiting.companions("m", "k", list) == ["s"]
    assert await stays is None
    await asyncio.wait([gone])
    assert first is not None
    first.give_back()
    assert (one.state.slots["http://a"].taken, one.state.queued) == (0, 0)


async def test_too_many_waiting_calls_are_refused() -> None:
    one = fleet(backend("a"), waiting=1)
    first = await leased(one, "m", Wanted())
    waiting = asyncio.create_task(leased(one, "m", Wanted()))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await leased(one, "m", Wanted())
    assert first is not None
    first.give_back()
    second = await waiting
    assert second is not None
    second.give_back()


async def test_a_reload_keeps_what_is_taken() -> None:
    state = FleetState()
    lease = await leased(fleet(backend("a", slots=2), state=state), "m", Wanted())
    again = fleet(backend("a", slots=2), state=state)

    assert state.slots["http://a"].taken == 1
    second = again.at_once("m", Wanted())
    assert second is not None
    assert again.at_once("m", Wanted()) is None
    assert lease is not None
    lease.give_back()
    lease.give_back()  # given back exactly once
    assert state.slots["http://a"].taken == 1


async def test_backends_of_a_group_share_their_slots() -> None:
    one = Fleet(
        [backend("a", group="local"), backend("b", group="local")],
        FleetState(),
        groups={"local": 1},
    )
    first = one.at_once("m", Wanted())

    assert first is not None
    assert one.at_once("m", Wanted()) is None
    first.give_back()
    assert one.at_once("m", Wanted()) is not None


async def test_a_new_backend_takes_a_call_that_waits() -> None:
    one = fleet(backend("a"))
    held = one.at_once("m", Wanted())
    waiting = asyncio.ensure_future(leased(one, "m", Wanted()))
    await asyncio.sleep(0)
    one.use([backend("a"), backend("b")])
    lease = await waiting

    assert held is not None
    assert lease is not None
    assert lease.backend.name == "b"


async def test_a_removed_backend_takes_no_call_and_ends_those_it_has() -> None:
    one = fleet(backend("a"), backend("b"))
    leases = [one.at_once("m", Wanted()) for _ in "ab"]
    gone = next(each for each in leases if each is not None and each.backend.name == "a")
    waiting = asyncio.ensure_future(leased(one, "m", Wanted()))
    await asyncio.sleep(0)
    one.use([backend("b")])
    gone.give_back()
    await asyncio.sleep(0)

    assert one.state.slots["http://a"].taken == 0
    assert not waiting.done()
    waiting.cancel()


async def test_a_backend_that_drains_is_taken_only_when_no_other_is_there() -> None:
    leaving = replace(backend("a", slots=5), draining=True)
    one = fleet(leaving, backend("b", slots=5))
    taken = [one.at_once("m", Wanted()) for _ in range(5)]
    one.use([leaving])
    last = one.at_once("m", Wanted())

    assert {each.backend.name for each in taken if each is not None} == {"b"}
    assert last is not None
    assert last.backend.name == "a"


async def test_one_that_drains_is_taken_by_callers_whose_region_has_no_other() -> None:
    leaving = replace(backend("a", slots=5, region="eu"), draining=True)
    one = fleet(leaving, backend("b", slots=5, region="us"))
    at_home = one.at_once("m", Wanted(regions=frozenset({"eu"})))
    elsewhere = [one.at_once("m", Wanted()) for _ in range(5)]
    one.use([leaving, backend("b", region="us"), backend("c", slots=5, region="eu")])
    then = one.at_once("m", Wanted(regions=frozenset({"eu"})))

    assert at_home is not None
    assert at_home.backend.name == "a"
    assert {each.backend.name for each in elsewhere if each is not None} == {"b"}
    assert then is not None
    assert then.backend.name == "c"


async def test_a_backend_that_comes_back_has_what_it_had_in_hand() -> None:
    one = fleet(backend("a"))
    lease = one.at_once("m", Wanted())
    one.use([])
    with pytest.raises(NoBackend):
        one.at_once("m", Wanted())
    one.use([backend("a")])

    assert one.at_once("m", Wanted()) is None
    assert lease is not None
    lease.give_back()
    assert one.at_once("m", Wanted()) is not None


def test_what_was_asked_of_a_pool_is_known_when_its_engines_change_or_a_reload_comes() -> None:
    state = FleetState()
    one = fleet(backend("a", slots=90), backend("b", slots=90), state=state)
    began = one.now()
    for _ in range(50):
        one.at_once("m", promised("best_effort"))
    offered = one.pools["m"].offered(began + 1.0)
    one.use([backend("a", slots=90)])
    changed = one.pools["m"].offered(began + 1.0)
    reloaded = fleet(backend("b", slots=90), state=state)

    assert offered > 1.0
    assert changed == pytest.approx(offered, rel=0.1)
    assert reloaded.pools["m"].offered(began + 1.0) == pytest.approx(offered, rel=0.1)


def promised(unmet: Unmet) -> Wanted:
    return Wanted(work=1.0, terms=Terms(slo="s", target_s=1.0, unmet=unmet))


async def test_a_call_that_is_rather_refused_never_waits_and_is_told_when_to_come_again() -> None:
    one = fleet(backend("a"), backend("b"), waiting=9)
    held = [await leased(one, "m", promised("refuse")) for _ in range(2)]
    waiting = asyncio.create_task(leased(one, "m", promised("best_effort")))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refused:
        await leased(one, "m", promised("refuse"))
    assert refused.value.retry_after_s == 1.0  # at least, however soon it may be
    for lease in held:
        assert lease is not None
        lease.give_back()
    last = await waiting
    assert last is not None
    again = one.at_once("m", promised("refuse"))
    assert again is not None
    for lease in (last, again):
        lease.give_back()
    assert {slots.taken for slots in one.state.slots.values()} == {0}


async def test_a_call_that_waits_for_its_promise_lets_others_pass_and_goes_when_one_is_idle() -> (
    None
):
    one = fleet(backend("a", slots=8), backend("b", slots=8), waiting=9)
    for standing in one.state.standings.values():
        standing.paces["total"].learn(0.0, 5.0)
    first, second = (one.at_once("m", promised("queue")) for _ in range(2))
    assert first is not None
    assert second is not None
    assert {first.backend.name, second.backend.name} == {"a", "b"}  # idle ones are tried
    strict = asyncio.create_task(leased(one, "m", promised("queue")))
    await asyncio.sleep(0)
    easy = await leased(one, "m", promised("best_effort"))
    assert easy is not None
    assert easy.why == "best_effort"
    assert not strict.done()
    easy.give_back()
    first.give_back()

    assert (await strict) is not None


async def test_an_engine_that_left_may_fail_what_it_had_in_hand_as_often_as_it_likes() -> None:
    made = fleet(backend("a", slots=6), backend("b"))
    leases = [made.at_once("m", Wanted(tried=frozenset({"b"}))) for _ in range(6)]
    made.use([backend("b")])
    for lease in leases:
        assert lease is not None
        lease.give_back("failed", UpstreamFailed("lost"))

    assert made.state.slots["http://a"].taken == 0
    assert made.state.health["http://a"].until > made.now()
