"""What a request used is free when it ends: nothing of it waits for the collector.

Memory that waits is memory that grows between two collections, and that the caches do not hold.
"""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import pytest
from gateways import start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.requests import ClientRequest

ROUTES: dict[str, ClientRequest] = {
    "chat": ask.chat(1, model="chat"),
    "streamed chat": ask.chat(2, model="chat", stream=True, usage=True),
    "embedding": ask.embeddings(3, model="vectors"),
    "rerank": ask.rerank(4, model="ranks"),
    "speech": ask.speech(5, model="voice"),
    "transcription": ask.transcription(6, model="ears", duration_ms=75_000),
}


@pytest.mark.parametrize("route", ROUTES)
async def test_an_ended_request_is_in_no_cycle(
    tmp_path: Path, engine: ScriptedEngine, route: str
) -> None:
    running = await start(tmp_path, [{"url": engine.url}])
    try:
        await send(running.url, ROUTES[route], key=running.key)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(3):
            assert (await send(running.url, ROUTES[route], key=running.key)).status == 200
        gc.collect()
        left = Counter(
            type(each).__qualname__
            for each in gc.garbage
            if type(each).__module__.startswith("modgate")
        )
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
        await running.app.close()

    assert left == {}
