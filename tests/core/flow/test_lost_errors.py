"""Errors of a wide plan's calls that nobody met, because the request ended before their turn."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rigs.batching import Answered, Engine, Traffic
from rigs.virtual import virtually

from modgate.errors import Cancelled, Overloaded
from modgate.plugin import Body, Call, Event, Head, Outcome, Plan, Relay, Usage
from modgate.run import Run
from modgate.spool import Spool
from modgate.tracebacks import let_go
from modgate.trip import Trip
from modgate.units import NOTHING

CALLS = 4


class Passing(Relay):
    """Sends what it is fed."""

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """As it is."""
        return [event.data]

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """Costs nothing."""
        return Usage(NOTHING)


class Gone:
    """A client that leaves when the reply begins."""

    opened = abandoned = False

    async def emit(self, head: Head, data: Sequence[bytes]) -> None:
        """Nobody takes it."""
        raise Cancelled("the client left")

    def pour(self, data: Sequence[bytes]) -> bool:
        """Never: nothing was opened."""
        raise NotImplementedError  # not asked here

    async def room(self) -> None:
        """Never, either."""
        raise NotImplementedError  # not asked here


@virtually
async def test_a_plan_of_which_calls_found_the_spool_full_waits_for_no_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.lane.MEMORY_AT_MOST", 100)
    gc.disable()
    try:
        relay, errors = await ended(tmp_path)
        assert relay() is None
    finally:
        gc.enable()
    assert errors == [Overloaded.code] * (CALLS - 1)


async def ended(folder: Path) -> tuple[weakref.ref[Relay], list[str]]:
    """A plan whose first reply is short and late; the others find no room until it comes."""
    engine = Engine(lambda texts: Answered(seconds=5.0 if texts == ["0"] else 0.1), slots=CALLS)
    traffic, relay = Traffic(engine, slots=CALLS), Passing()

    async def trip_of(index: int, call: Call) -> Trip:
        del call
        trip = traffic.trip("0" * (1 + 50 * index))
        trip.order.index = index
        return trip

    run = Run(
        Plan(calls=[Call(path="/x", body=Body.of())] * CALLS, relay=relay, width=CALLS),
        trip_of=trip_of,
        sink=Gone(),
        scope=Spool(folder, 0).scope(),
        pool=ThreadPoolExecutor(1),  # the relay is not heavy
        draw=lambda drawn, ahead: pytest.fail("nothing is drawn"),
        step_ended=lambda step, began: None,
    )
    try:
        await run.go()
    except Cancelled as error:
        let_go([error, *run.errors])
    else:
        pytest.fail("the client had left")
    return weakref.ref(relay), [error.code for error in run.errors]
