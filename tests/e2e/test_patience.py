"""How long a call of a class waits for an engine that says nothing, on sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from gateways import start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import Fault, Script
from oracle.requests import ClientRequest

from modgate.plugin import Receipt

PROMISED = """
[slo.gold.embedding]
total = { base = "100ms" }
[slo.gold.llm]
first_byte = { base = "100ms" }
total = { base = "100ms", output_tokens = "50ms" }
"""
TENANTS = {"gold": 'slo = "gold"', "other": ""}
SILENT = Script(fault=Fault(kind="silence", after=None))
SLOW = Script(headers_after_ms=1500)  # more than patience is, which is a second at least
VECTORS = ask.embeddings(1, model="vectors")
STREAM = ask.chat(2, model="chat", stream=True)
SHORT, LONG = (ask.chat(3, model="chat", max_tokens=tokens) for tokens in (2, 40))
LATE, OK = "timed_out", "ok"


class World:
    """Two engines that share one list of scripts; a model that one of them has alone."""

    def __init__(self, engines: list[ScriptedEngine]) -> None:
        self.engines = engines
        self.receipts: list[Receipt] = []
        self.url = ""
        self.keys: dict[str, str] = {}

    async def states(self, request: ClientRequest, tenant: str, *scripts: Script) -> list[str]:
        """How each attempt ended; AssertionError when the reply is not a good one."""
        left = list(scripts)
        for engine in self.engines:
            engine.script_for = lambda record: left.pop(0)
        self.receipts.clear()
        record = await send(self.url, request, key=self.keys[tenant], within_s=10)
        assert record.ended == "ok", record
        [receipt] = self.receipts
        return [attempt.state for attempt in receipt.attempts]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(ScriptedEngine()) for _ in range(2)]
        backends: list[dict[str, object]] = [{"url": engine.url} for engine in made]
        backends[0]["serves"] = {"chat": "c", "vectors": "v", "alone": "a"}
        backends[1]["serves"] = {"chat": "c", "vectors": "v"}
        world = World(made)
        running = await start(
            tmp_path,
            backends,
            tenants=TENANTS,
            plugins=("llm", "embedding"),
            models={"chat": "llm", "vectors": "embedding", "alone": "embedding"},
            more=PROMISED,
        )
        stack.push_async_callback(running.app.close)
        running.app.state.observer.also(world.receipts.append)
        world.url, world.keys = running.url, dict(running.keys)
        yield world


@pytest.mark.parametrize("request_", [VECTORS, STREAM, SHORT], ids=["vectors", "stream", "whole"])
async def test_a_silent_engine_is_left_for_another(world: World, request_: ClientRequest) -> None:
    assert await world.states(request_, "gold", SILENT, Script()) == [LATE, OK]


async def test_the_second_engine_has_all_the_time_that_is_left(world: World) -> None:
    assert await world.states(VECTORS, "gold", SILENT, SLOW) == [LATE, OK]


async def test_where_no_other_engine_is_the_only_one_is_waited_for(world: World) -> None:
    request = ask.embeddings(4, model="alone")

    assert await world.states(request, "gold", SLOW) == [OK]


async def test_a_reply_that_may_be_long_is_waited_for_longer(world: World) -> None:
    assert await world.states(LONG, "gold", SLOW) == [OK]


async def test_where_nothing_is_promised_the_modality_s_deadline_holds(world: World) -> None:
    assert await world.states(VECTORS, "other", SLOW) == [OK]
