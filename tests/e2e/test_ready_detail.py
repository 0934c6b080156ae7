"""What the admin listener's readiness says of engines, on which readiness does not depend.

Source: field.md (what none of them has, 15); RFD 59.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import Refusal, Script
from waiting import until

NOWHERE = "http://127.0.0.1:1"


@asynccontextmanager
async def running(
    folder: Path, backends: list[Mapping[str, object]], more: str
) -> AsyncIterator[Running]:
    async with await start(folder, backends, plugins=("llm", "embedding"), more=more) as made:
        yield made


async def ready(gateway: Running) -> tuple[int, Any]:
    """Status on the public listener, detail of the admin's."""
    async with aiohttp.ClientSession() as session:
        async with session.get(gateway.url + "/health/ready") as public:
            status = public.status
        async with session.get(gateway.admin + "/health/ready") as detail:
            return status, await detail.json()


async def test_readiness_tells_of_engines_that_do_not_answer_and_does_not_depend_on_them(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(refusal=Refusal(status=500))
    backends = [{"url": engine.url, "serves": {"chat": "e"}, "slots": 1} for _ in range(2)]
    backends[1] = {**backends[0], "url": engine.url + "/two"}
    async with running(tmp_path, backends, "") as gateway:
        before = await ready(gateway)
        for tag in range(12):
            await send(gateway.url, ask.chat(tag, model="chat"), key=gateway.key)
        after = await ready(gateway)

    assert before[1]["models"]["chat"] == {"backends": {"unknown": 2}, "waiting": 0, "held": 0}
    assert before[1]["models"]["vectors"]["backends"] == {}
    assert after[0] == 200
    assert after[1]["models"]["chat"]["backends"]["ejected"] >= 1


async def test_readiness_tells_what_waits_and_what_is_held(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(headers_after_ms=60_000)
    (tmp_path / "engines.json").write_text("[]")
    found = f'[[discover]]\nname = "pods"\nkind = "file"\npath = "{tmp_path / "engines.json"}"\n'
    more = f'[queue]\nhold = "60s"\n{found}serves = {{ vectors = "e" }}\n'
    backends = [{"url": engine.url, "serves": {"chat": "e"}, "slots": 1}]
    async with running(tmp_path, backends, more) as gateway:
        asked = [
            asyncio.ensure_future(send(gateway.url, each, key=gateway.key))
            for each in (
                ask.chat(1, model="chat"),
                ask.chat(2, model="chat"),
                ask.embeddings(3, model="vectors"),
            )
        ]
        fleet = gateway.app.gateway.fleet
        await until(lambda: fleet.state.queued == 1 and fleet.holding.calls["vectors"] == 1, 5)
        _, detail = await ready(gateway)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    assert [detail["models"][name]["waiting"] for name in ("chat", "vectors")] == [1, 0]
    assert [detail["models"][name]["held"] for name in ("chat", "vectors")] == [0, 1]
    assert detail["discovery"] == {"pods": {"backends": 0, "stale_seconds": 0.0}}


@pytest.mark.parametrize("asked", [True, False])
async def test_readiness_names_the_engines_that_tell_nothing_of_themselves(
    tmp_path: Path, engine: ScriptedEngine, *, asked: bool
) -> None:
    every = "100ms" if asked else "0s"
    more = f'[telemetry]\nscrape = "{every}"\nprobe = "0s"\n'
    backends = [{"url": NOWHERE, "family": "vllm", "serves": {"chat": "e"}}]
    async with running(tmp_path, backends, more) as gateway:
        rounds = gateway.app.state.rounds
        if asked:
            await until(lambda: bool(rounds.unheard), 10)
        _, detail = await ready(gateway)

    assert detail["no_telemetry"] == ({"b0": ["load"]} if asked else {})
