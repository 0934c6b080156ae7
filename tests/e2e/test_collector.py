"""What a request used is free when it ends: nothing of it waits for the collector.

Memory that waits is memory that grows between two collections, and that the caches do not hold.
"""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Refusal, Script
from oracle.record import Record
from oracle.requests import ClientRequest
from rigs.policies import ASKS, house, paths

ROUTES: dict[str, ClientRequest] = {
    "chat": ask.chat(1, model="chat"),
    "streamed chat": ask.chat(2, model="chat", stream=True, usage=True),
    "embedding": ask.embeddings(3, model="vectors"),
    "rerank": ask.rerank(4, model="ranks"),
    "speech": ask.speech(5, model="voice"),
    "transcription": ask.transcription(6, model="ears", duration_ms=75_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
async def test_an_ended_request_is_in_no_cycle(
    tmp_path: Path, engine: ScriptedEngine, route: str
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        assert await left_by(running, ROUTES[route]) == {}


@pytest.mark.slow
async def test_a_request_is_in_no_cycle_whose_policy_asked_in_vain(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = without_vectors
    async with house(tmp_path, engine, f'{ASKS}times = 2\non_failure = "open"\n') as running:
        assert await left_by(running, ROUTES["chat"]) == {}
    assert "/v1/embeddings" in paths(engine)


def without_vectors(record: Record) -> Script:
    """The embedding engine fails; the other answers."""
    return Script(refusal=Refusal(status=500)) if record.modality == "embedding" else OK


async def left_by(running: Running, request: ClientRequest) -> Counter[str]:
    """What of modgate only the collector finds after a few such requests, by type."""
    await send(running.url, request, key=running.key)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(3):
            assert (await send(running.url, request, key=running.key)).status == 200
        gc.collect()
        return Counter(
            type(each).__qualname__
            for each in gc.garbage
            if type(each).__module__.startswith("modgate")
        )
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
