"""Calls that are held for an engine, and then wait for a slot."""

from __future__ import annotations

import asyncio

import pytest
from rigs.batching import Answered, Engine, Traffic
from rigs.virtual import run

from modgate.errors import Overloaded
from modgate.fleet.claim import QueueRules
from modgate.fleet.fleet import Fleet
from modgate.fleet.holding import Awaited
from modgate.fleet.state import FleetState

PATIENCE_S = 4.0


def test_a_class_waits_once_for_an_engine_and_its_slot() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        traffic = Traffic(Engine(lambda texts: Answered(seconds=20.0)), slots=1)
        [backend] = traffic.fleet.backends.values()
        fleet = Fleet(
            [],
            FleetState(),
            groups={},
            rules=QueueRules(hold_s=60.0, patience_s={"": PATIENCE_S}),
            now=loop.time,
            awaited=[Awaited(backend, roams=False)],
        )
        traffic.over(fleet)
        began, refused = loop.time(), []

        async def ask(tenant: str) -> None:
            try:
                await traffic.ask("a", tenant=tenant)
            except Overloaded:
                refused.append(loop.time() - began)

        loop.call_later(3.0, fleet.use, [backend])
        await asyncio.gather(ask("one"), ask("two"))
        return refused

    assert run(main()) == [pytest.approx(PATIENCE_S, abs=0.5)]


def test_a_request_waits_for_as_long_as_one_of_its_calls_does() -> None:
    """Whose deadline passes meanwhile is told of the queue."""

    async def main() -> list[int]:
        traffic = Traffic(Engine(lambda texts: Answered(seconds=20.0)), slots=1)
        taken = await traffic.leasing.lease(traffic.trip("taken").order)
        assert taken is not None
        orders = [traffic.trip(text).order for text in ("first", "second")]
        draft = orders[1].draft = orders[0].draft
        orders[1].index = 1
        waiting = [asyncio.create_task(traffic.leasing.lease(order)) for order in orders]
        await asyncio.sleep(0)
        counts = [len(draft.waits)]
        taken.give_back()  # the first call has it
        lease = await waiting[0]
        counts.append(len(draft.waits))
        [late] = draft.waits.values()
        assert isinstance(late(), Overloaded)
        assert lease is not None
        lease.give_back()
        await waiting[1]
        return [*counts, len(draft.waits)]

    assert run(main()) == [2, 1, 0]
