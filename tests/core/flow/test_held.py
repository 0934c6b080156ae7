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
        traffic.leasing._fleet = fleet = Fleet(
            [],
            FleetState(),
            groups={},
            rules=QueueRules(hold_s=60.0, patience_s={"": PATIENCE_S}),
            now=loop.time,
            awaited=[Awaited(backend, roams=False)],
        )
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
