"""Whether a promise was kept is judged as whoever waited would judge it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from oracle.faults import Refusal, Script
from oracle.record import Record
from rigs.explaining import Make, worlds


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Make]:
    async with worlds(tmp_path) as make:
        yield make


def first_is(script: Script) -> Callable[[Record], Script]:
    """Engines of which the first call alone is so."""
    calls = iter([script])
    return lambda record: next(calls, Script()) if record.method == "POST" else Script()


async def test_the_wait_for_a_slot_is_a_part_of_what_a_call_took(world: Make) -> None:
    made = await world(first_is(Script(headers_after_ms=400)), slots=1)
    first = asyncio.create_task(made.sent())
    await asyncio.sleep(0.05)
    client = await made.sent()
    await first
    told = await made.explained(client)

    assert told["attempts"][0]["slo"]["kept"]
    assert (told["slo"]["kept"], told["slo"]["late"]) == (False, 1)
    assert 2 < told["slo"]["worst_share"] < 10


async def test_what_an_engine_took_that_failed_is_a_part_of_what_a_call_took(world: Make) -> None:
    script = first_is(Script(headers_after_ms=400, refusal=Refusal(status=500)))
    made = await world(script, script)
    told = await made.explained(await made.sent())

    assert [each["state"] for each in told["attempts"]] == ["failed", "ok"]
    assert told["attempts"][1]["slo"]["kept"]
    assert (told["slo"]["kept"], told["slo"]["late"]) == (False, 1)
    assert 3 < told["slo"]["worst_share"] < 12
