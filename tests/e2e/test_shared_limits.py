"""Limits over two gateways at one Redis, and what they do while it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from gateways import Running, start
from oracle.engine import ScriptedEngine
from oracle.faults import Script
from servers import Server
from waiting import until

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
LIMITS = (
    'limits = { requests = "12/hour", in_flight = 3, '
    'units = { "llm.output_tokens" = "10k/day", "asr.audio_seconds" = "60/hour" } }'
)


@pytest.fixture
async def pair(
    tmp_path: Path, store: Server, engine: ScriptedEngine
) -> AsyncIterator[tuple[Running, Running]]:
    """Two gateways with one tenant, whose key both know."""
    made: list[Running] = []
    more = f'[limits.store]\nurl = "{store.url}"\nreplicas = 2\ndeadline = "200ms"'
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        backends = [{"url": engine.url}]
        made.append(await start(folder, backends, tenants={"acme": LIMITS}, more=more))
    yield made[0], made[1]
    for running in made:
        await running.app.close()


async def _ask(running: Running) -> aiohttp.ClientResponse:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{running.url}/v1/chat/completions", json=CHAT, headers=running.headers
        ) as reply,
    ):
        await reply.read()
        return reply


async def test_two_gateways_admit_one_limit(pair: tuple[Running, Running]) -> None:
    replies = [await _ask(pair[turn % 2]) for turn in range(16)]

    statuses = [reply.status for reply in replies]
    assert statuses == [200] * 12 + [429] * 4
    assert "x-modgate-limits" not in replies[0].headers
    assert pair[0].app.state.shared is not None
    assert not pair[0].app.state.limits_down


async def test_places_in_flight_are_one_count(
    pair: tuple[Running, Running], engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(held=True)
    asked = [asyncio.create_task(_ask(pair[turn % 2])) for turn in range(8)]
    await until(lambda: sum(each.done() for each in asked) + len(engine.records) == len(asked))
    for record in engine.records:
        engine.release(record.request_id)
    statuses = [(await each).status for each in asked]

    assert sorted(statuses) == [200] * 3 + [429] * 5


async def test_a_paused_store_costs_no_request_its_answer(
    pair: tuple[Running, Running], store: Server
) -> None:
    store.pause()
    try:
        replies = [await _ask(pair[0]) for _ in range(9)]
    finally:
        store.go_on()

    statuses = [reply.status for reply in replies]
    assert statuses == [200] * 6 + [429] * 3  # half of the limit: there are two gateways
    assert pair[0].app.state.limits_down
    assert replies[-1].headers["x-modgate-limits"] == "local"


async def test_why_the_store_is_down_is_in_the_log(
    tmp_path: Path, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    more = f'[limits.store]\nurl = "unix://{tmp_path}/none"'
    async with await start(
        tmp_path, [{"url": engine.url}], tenants={"acme": LIMITS}, more=more
    ) as running:
        for _ in range(6):
            await _ask(running)

    [down] = [record for record in caplog.records if record.message == "limit store down"]
    assert vars(down)["reason"] == "no such file or directory"
