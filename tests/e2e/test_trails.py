"""What is kept of an ended request for whoever asks later: no part of it, and what is counted."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.requests import ClientRequest

from modgate.api.auth import Caller
from modgate.api.select import Backend
from modgate.entropy import Entropy
from modgate.fleet.slots import Seat
from modgate.limits.rates import CallerRates

ROUTES: dict[str, ClientRequest] = {
    "chat": ask.chat(1, model="chat"),
    "streamed chat": ask.chat(2, model="chat", stream=True, usage=True),
    "embedding": ask.embeddings(3, model="vectors"),
    "rerank": ask.rerank(4, model="ranks"),
    "speech": ask.speech(5, model="voice"),
    "transcription": ask.transcription(6, model="ears", duration_ms=75_000),
}
LIMITS = 'limits = { requests = "1000/s", units = { "llm.output_tokens" = "1M/min" } }'
# What lives without the request: it is reached, and not looked into.
SHARED = (
    *(type, ModuleType, FunctionType, BuiltinFunctionType),
    *(Seat, Backend, Caller, CallerRates, Entropy),
)
TEXT_BYTES = 300


def reached(root: object) -> Iterator[object]:
    """All that it keeps alive for itself."""
    seen, todo = {id(root)}, [root]
    while todo:
        at = todo.pop()
        yield at
        for each in gc.get_referents(at):
            if id(each) not in seen and not isinstance(each, SHARED):
                seen.add(id(each))
                if not isinstance(at, MethodType):
                    todo.append(each)


async def served(running: Running, request: ClientRequest) -> list[object]:
    """The trails of some requests like it; all but one or two find no slot at once."""
    sending = (send(running.url, request, key=running.key) for _ in range(4))
    assert {client.status for client in await asyncio.gather(*sending)} == {200}
    return list(running.app.state.trails.newest())


@pytest.mark.parametrize("route", ROUTES)
async def test_a_trail_keeps_nothing_that_was_sent_or_opened_and_weighs_no_more_than_is_counted(
    tmp_path: Path, engine: ScriptedEngine, route: str
) -> None:
    other = engine.url.replace("127.0.0.1", "localhost")
    backends = [{"url": engine.url, "slots": 1}, {"url": other, "slots": 1}]
    async with await start(tmp_path, backends, tenants={"acme": LIMITS}) as running:
        trails = await served(running, ROUTES[route])
        kept = [list(reached(trail)) for trail in trails]
        counted = running.app.state.trails.weight

    kinds = {type(each) for each in kept[0]}
    foreign = {k.__name__ for k in kinds if not k.__module__.startswith(("builtins", "modgate"))}
    texts = [each for each in kept[0] if isinstance(each, str | bytes | bytearray)]
    whole = {id(each): sys.getsizeof(each) for one in kept for each in one}
    assert foreign <= {"mappingproxy"}
    assert [text for text in texts if len(text) > TEXT_BYTES] == []
    assert not {"Call", "Plan", "Request", "Exchange", "Stream", "Fleet", "Waiter", "Charge"} & {
        k.__name__ for k in kinds
    }
    assert sum(whole.values()) <= counted
    assert counted <= 2 * sum(whole.values())
