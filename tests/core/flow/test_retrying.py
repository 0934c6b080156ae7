"""A call that failed, is tried again, and finds no slot: it has waited in vain, which is an end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from rigs.batching import Answered, Engine, Traffic
from rigs.virtual import virtually

from modgate.errors import Overloaded


def lost(texts: Sequence[str]) -> Answered:
    return Answered(lost=True)


def slow(texts: Sequence[str]) -> Answered:
    return Answered(seconds=5.0 if texts == ["slow"] else 0.01)


@virtually
async def test_a_call_that_failed_and_then_found_no_room_is_not_queued_again() -> None:
    traffic = Traffic(Engine(lost), Engine(slow), slots=1, waiting_at_most=0)
    await traffic.ask("b0 has failed by now, and is asked first no more")
    busy = asyncio.ensure_future(traffic.ask("slow"))
    await asyncio.sleep(0.1)
    trip = traffic.trip("hello")
    with pytest.raises(Overloaded):
        await trip.next()
    draft = trip.order.draft
    await busy

    assert [tried.backend for tried in draft.tries] == ["b0"]
    assert [step.name for step in draft.steps] == ["select", "select", "queue"]
    assert traffic.idle()
