"""Which engine answers, by what was promised: on sockets, with engines that keep it and do not."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateways import Running, receipts_of, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Refusal, Script
from oracle.requests import ClientRequest
from rigs.unhurried import UnhurriedLoop, unhurried

from modgate.testing.backend import FakeBackend, Scripted

CHAT = ask.chat(1, model="chat")
TARGET = '[slo.gold.llm]\nfirst_byte = { base = "100ms" }\ntotal = { base = "100ms" }\n'
SLOW_MS = 60
SLOW, LATE = Script(headers_after_ms=SLOW_MS), Script(headers_after_ms=250)
SOON = Script(headers_after_ms=5)
LEARNING = 16  # calls until what calls of this model take is known


class World:
    """A gateway before engines of these scripts; its one tenant has the class gold."""

    def __init__(self, running: Running, engines: list[ScriptedEngine]) -> None:
        self.running = running
        self.engines = engines
        self.receipts = receipts_of(running)

    @property
    def calls(self) -> list[int]:
        """Of each engine."""
        return [sum(r.method == "POST" for r in engine.records) for engine in self.engines]

    async def sent(self, request: ClientRequest) -> ClientRecord:
        """Another request than a chat."""
        return await send(self.running.url, request, key=self.running.key)

    async def asked(self, times: int = 1, *, at_once: int = 1) -> list[tuple[int | None, str]]:
        """Status and `x-modgate-slo` of each reply."""
        found = []
        for _ in range(times // at_once):
            sending = (send(self.running.url, CHAT, key=self.running.key) for _ in range(at_once))
            for client in await asyncio.gather(*sending):
                headers = {name.lower(): value for name, value in client.headers.items()}
                found.append((client.status, headers.get("x-modgate-slo", "")))
        return found

    async def candidates(self) -> dict[str, Any]:
        """What the last request could choose from, by backend."""
        page = f"{self.running.admin}/admin/v1/requests/{self.receipts[-1].request_id}"
        async with aiohttp.ClientSession() as session, session.get(page) as reply:
            [attempt] = (await reply.json())["attempts"]
            return {row["backend"]: row for row in attempt["pick"]["candidates"]}

    async def backends(self) -> dict[str, Any]:
        """What operators are shown, by backend."""
        shown = json.loads(await self.running.page("/admin/v1/backends"))
        return {row["name"]: row for row in shown["backends"]}


async def world(
    folder: Path,
    stack: AsyncExitStack,
    scripts: list[Script],
    more: str = TARGET,
    plugin: str = "llm",
) -> World:
    engines = [
        await stack.enter_async_context(ScriptedEngine(lambda record, each=each: each))
        for each in scripts
    ]
    running = await start(
        folder,
        [{"url": engine.url} for engine in engines],
        plugins=[plugin],
        tenants={"acme": 'slo = "gold"'},
        more=more,
    )
    stack.push_async_callback(running.app.close)
    return World(running, engines)


def test_the_engine_that_answers_sooner_gets_the_calls(tmp_path: Path) -> None:
    async def asked(_: UnhurriedLoop) -> tuple[list[int], World, dict[str, Any], str]:
        async with AsyncExitStack() as stack:
            made = await world(tmp_path, stack, [SLOW, SOON])
            await made.asked(LEARNING)
            before = made.calls
            await made.asked(20)
            return before, made, await made.backends(), await made.running.page("/metrics")

    before, made, told, metrics = unhurried(asked)

    slow, fast = made.calls
    assert slow - before[0] <= 2
    assert 'modgate_backend_left_out{backend="b1"} 0' in metrics
    assert 'modgate_backend_promises{backend="b1",model="chat",slo="gold",phase="total"}' in metrics
    assert 'modgate_backend_p95_seconds{backend="b1",model="chat",phase="total"}' in metrics
    chat = told["b1"]["models"]["chat"]
    assert told["b1"]["state"] == "healthy"
    assert chat["promises"]["gold"]["total"]["calls"] == fast
    assert 0 < chat["times"]["total"]["p50"] <= chat["times"]["total"]["p99"] < SLOW_MS / 1000


@pytest.mark.slow
async def test_an_engine_that_fails_is_ejected_and_a_storm_of_bad_requests_ejects_nobody(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        fails = Script(refusal=Refusal(status=500))
        made = await world(tmp_path, stack, [fails, LATE])
        statuses = [status for status, _ in await made.asked(16)]
        health = made.running.app.state.fleet.health
        ejected = [url for url, each in health.items() if each.until > 0]
        assert set(statuses) == {200}
        assert 5 <= made.calls[0] <= 8  # five in a row, and not one more than was under way
        assert ejected == [made.engines[0].url]

    async with AsyncExitStack() as stack:
        refuses = Script(refusal=Refusal(status=400))
        (tmp_path / "again").mkdir()
        made = await world(tmp_path / "again", stack, [refuses, refuses])
        await made.asked(1000, at_once=10)
        health = made.running.app.state.fleet.health
        assert sum(made.calls) == 1000
        assert [each.errors.seen for each in health.values()] == [0, 0]
        assert {row["state"] for row in (await made.backends()).values()} == {"unknown"}


async def test_what_will_be_late_is_told_as_best_effort(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        made = await world(tmp_path, stack, [LATE, LATE])
        told = await made.asked(LEARNING)

    assert told[0] == (200, "")  # nobody knew yet
    assert told[-1] == (200, "best-effort")
    assert made.receipts[-1].notes["slo"] == "best-effort"


async def test_a_class_may_be_refused_rather_than_served_late_but_never_for_ever(
    tmp_path: Path,
) -> None:
    more = TARGET + '[select]\nunmet = { gold = "refuse" }\n'
    async with AsyncExitStack() as stack:
        made = await world(tmp_path, stack, [LATE, LATE], more)
        await made.asked(LEARNING)
        told = await made.asked(6, at_once=6)
        idle = await made.asked(1)

    assert {status for status, _ in told} == {200, 429}
    assert idle[0][0] == 200  # an engine with nothing in hand is tried


@pytest.mark.slow
async def test_a_file_that_was_begun_is_not_refused_in_its_midst(tmp_path: Path) -> None:
    """What was transcribed of it would be billed, and nobody would have it."""
    more = '[slo.gold.asr]\ntotal = { base = "100ms" }\n[select]\nunmet = { gold = "refuse" }\n'
    utterance = ask.transcription(1, model="ears", duration_ms=3_000)
    file = ask.transcription(2, model="ears", duration_ms=300_000)
    async with AsyncExitStack() as stack:
        made = await world(tmp_path, stack, [LATE, LATE], more, plugin="asr")
        for _ in range(4):
            await made.sent(utterance)
        begun = await made.sent(file)

    assert begun.status == 200
    assert made.receipts[-1].notes["slo"] == "best-effort"
    assert made.receipts[-1].units["asr.audio_ms"] == 300_000


@pytest.mark.slow
async def test_a_class_may_wait_rather_than_be_served_late(tmp_path: Path) -> None:
    more = TARGET + '[select]\nunmet = { gold = "queue" }\n'
    async with AsyncExitStack() as stack:
        made = await world(tmp_path, stack, [LATE, LATE], more)
        await made.asked(LEARNING)
        told = await made.asked(4, at_once=4)

    assert {status for status, _ in told} == {200}
    assert max(sum(step.name == "queue" for step in r.steps) for r in made.receipts) == 1


async def test_a_model_with_one_engine_learns_nothing_and_is_never_ejected(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        made = await world(tmp_path, stack, [Script(refusal=Refusal(status=500))])
        await made.asked(8)
        state = made.running.app.state.fleet

        assert [each.errors.n for each in state.health.values()] == [0]
        assert [each.records for each in state.standings.values()] == [{}]
        assert made.calls == [8]


async def test_an_engine_that_says_its_cache_is_full_gets_no_calls_until_it_says_otherwise(
    tmp_path: Path,
) -> None:
    more = TARGET + '[telemetry]\nscrape = "100ms"\nprobe = "0s"\n'
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(ScriptedEngine()) for _ in range(2)]
        told = await stack.enter_async_context(FakeBackend())
        told.answer("/0", Scripted(reply=b"vllm:kv_cache_usage_perc 0.97\n"))
        told.answer("/1", Scripted(reply=b"vllm:kv_cache_usage_perc 0.1\n"))
        running = await start(
            tmp_path,
            [
                {
                    "url": each.url,
                    "metrics": f"{told.url}/{at}",
                    "metrics_family": "vllm",
                    "slots": 1,
                }
                for at, each in enumerate(engines)
            ],
            plugins=["llm"],
            tenants={"acme": 'slo = "gold"'},
            more=more,
        )
        stack.push_async_callback(running.app.close)
        made = World(running, engines)
        await said(made, 0.97)
        await made.asked(12)
        full, states = made.calls, await made.backends()
        candidates = await made.candidates()
        metrics = await made.running.page("/metrics")
        told.answer("/0", Scripted(reply=b"vllm:kv_cache_usage_perc 0.2\n"))
        await said(made, 0.2)
        await made.asked(8, at_once=2)

    assert full == [0, 12]
    assert states["b0"]["state"] == candidates["b0"]["state"] == "degraded"
    assert 'modgate_backend_state{backend="b0",state="degraded"} 1' in metrics
    assert 'modgate_backend_state{backend="b0",state="healthy"} 0' in metrics
    assert made.calls[0] > 0


async def said(made: World, kv_use: float) -> None:
    """Until the first backend is known to use so much of its cache."""
    end = time.monotonic() + 5
    while (await made.backends())["b0"]["telemetry"]["kv_use"] != kv_use:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
