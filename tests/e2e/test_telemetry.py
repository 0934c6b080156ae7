"""What engines say of themselves, over real sockets, as operators see it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from gateways import Running, start

from modgate.api.json import JsonObject
from modgate.testing.backend import FakeBackend, Scripted

KEY = "s3cret-of-the-engine"
BUSY = b'vllm:num_requests_running{engine="0"} 3\nvllm:kv_cache_usage_perc{engine="0"} 0.5\n'
HOT = b'NPU_TEMP{id="0"} 61\nNPU_TEMP{id="1"} 70\n'
MORE = """
[telemetry]
scrape = "100ms"
probe = "100ms"
[signals.npu]
url = "{exporter}"
every = "500ms"
temperature = {{ metric = "NPU_TEMP" }}
"""


@asynccontextmanager
async def watched(folder: Path, engine: FakeBackend) -> AsyncIterator[Running]:
    (folder / "key").write_text(KEY)
    backend = {"url": engine.url, "family": "vllm", "key": {"file": str(folder / "key")}}
    async with await start(
        folder,
        [backend],
        plugins=("llm",),
        more=MORE.format(exporter=engine.url + "/exporter/metrics"),
    ) as running:
        yield running


async def telemetry(running: Running) -> JsonObject:
    [backend] = json.loads(await running.page("/admin/v1/backends"))["backends"]
    found: JsonObject = backend["telemetry"]
    return found


async def until(running: Running, true: Callable[[JsonObject], bool]) -> JsonObject:
    end = time.monotonic() + 10.0
    while True:
        found = await telemetry(running)
        if true(found):
            return found
        assert time.monotonic() < end, found
        await asyncio.sleep(0.02)


async def test_load_health_and_signals_are_shown_and_forgotten_when_they_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with FakeBackend() as engine:
        engine.answer("/metrics", Scripted(reply=BUSY))
        engine.answer("/health", Scripted(reply=b""))
        engine.answer("/exporter/metrics", Scripted(reply=HOT))
        async with watched(tmp_path, engine) as running:
            known = await until(
                running, lambda t: t["temperature"] is not None and t["running"] is not None
            )
            text = await running.page("/metrics")
            engine.answer("/metrics", Scripted(reply=b"vllm:num_requests_running{ 3\n"))
            engine.answer("/health", Scripted(status=503))
            unknown = await until(running, lambda t: t["running"] is None)
            unwell = await until(running, lambda t: t["well"] is False)
            engine.answer("/health", Scripted(reply=b""))
            await until(running, lambda t: t["well"] is True)

    assert (known["running"], known["kv_use"], known["temperature"]) == (3, 0.5, 70)
    assert known["waiting"] is None
    assert known["well"] is True
    assert 'modgate_backend_running_requests{backend="b0"} 3' in text
    assert 'modgate_backend_temperature_celsius{backend="b0"} 70' in text
    assert "modgate_backend_waiting_requests{" not in text
    assert unknown["load_weight"] == 0
    assert unwell["temperature"] == 70
    said = [r.message for r in caplog.records if r.name.startswith("modgate.telemetry")]
    assert said.count("engine is not well") == 1
    assert said.count("no telemetry") == 1
    assert KEY not in caplog.text


async def test_an_engine_that_is_gone_is_not_well_and_a_paths_absence_says_nothing(
    tmp_path: Path,
) -> None:
    async with FakeBackend() as engine:
        engine.answer("/health", Scripted(status=404))
        async with watched(tmp_path, engine) as running:
            await asyncio.sleep(0.5)  # of several rounds, each answered with 404
            silent = await telemetry(running)
            await engine.__aexit__(None, None, None)
            gone = await until(running, lambda t: t["well"] is False)

    assert silent["well"] is None
    assert silent["running"] is None
    assert gone["running"] is None


ORCA = "endpoint-load-metrics"
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
REPLY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"engine-chat","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
TOLD = 'JSON {"named_metrics": {"kv_cache_usage_perc": 0.75, "num_requests_waiting": 2.0}}'


@pytest.mark.parametrize(
    ("family", "every", "asks"), [("vllm", "5s", 1), ("vllm", "0s", 0), ("sglang", "5s", 0)]
)
async def test_load_in_the_head_of_a_reply_is_asked_for_now_and_then_and_stays_here(
    tmp_path: Path, family: str, every: str, asks: int
) -> None:
    async with FakeBackend() as engine:
        engine.answer("/v1/chat/completions", Scripted(reply=REPLY, headers={ORCA: TOLD}))
        more = f'[telemetry]\nscrape = "0s"\nprobe = "0s"\norca = "{every}"\n'
        backend = {"url": engine.url, "family": family}
        async with await start(tmp_path, [backend], plugins=("llm",), more=more) as running:
            heads = [await asked(running) for _ in range(3)]
            known = await telemetry(running)
        wanted = [seen.headers.get(f"{ORCA}-format") for seen in engine.calls]

    assert wanted == ["json"] * asks + [None] * (3 - asks)
    assert [ORCA in {name.lower() for name in head} for head in heads] == [False] * 3
    assert (known["kv_use"], known["waiting"]) == ((0.75, 2.0) if asks else (None, None))


async def asked(running: Running) -> dict[str, str]:
    """The head of a reply to a chat."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{running.url}/v1/chat/completions", json=CHAT, headers=running.headers
        ) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return dict(reply.headers)
