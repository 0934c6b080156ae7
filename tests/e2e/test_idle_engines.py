"""An engine that falls silent in the middle of its stream: that is its fault, and soon known.

Source: architecture.md 6 (`[timeouts] idle`).  The first event has a deadline of its own, which is
minutes for a long recording, and says nothing of what comes behind it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from gateways import receipts_of, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import Fault, Piece, Script, huge_event

from modgate.ledger.reader import rows

IDLE_S = 0.3
IDLE = f"[timeouts]\nidle = '{IDLE_S}s'\nclient_stalled = '60s'\n"
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ONE = Piece(data=b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n')
PING = Piece(data=b": still at it\n\n")
LONG = (*[Piece(data=huge_event(1 << 20))] * 40, Piece(data=END))


@pytest.mark.parametrize(
    ("script", "tokens"),
    [
        (Script(tokens=8, fault=Fault(kind="silence", after=3)), 3),
        (Script(pieces=(ONE, Piece(data=END)), fault=Fault(kind="silence", after=1)), 1),
    ],
)
async def test_silence_behind_the_first_event_ends_a_stream_before_a_first_event_would_be_late(
    tmp_path: Path, engine: ScriptedEngine, script: Script, tokens: int
) -> None:
    engine.script_for = lambda _: script
    async with await start(tmp_path, [{"url": engine.url}], more=IDLE) as running:
        receipts = receipts_of(running)
        request = ask.chat(1, model="chat", stream=True)
        record = await asyncio.wait_for(send(running.url, request, key=running.key), 20)
    [row] = list(rows(running.ledger))

    assert record.status == 200
    assert (row.ending, row.units["llm.output_tokens"], row.exact) == (
        "timed_out",
        tokens,
        False,
    )
    assert [attempt.state for attempt in receipts[0].attempts] == ["timed_out"]


@pytest.mark.slow
async def test_an_engine_is_not_blamed_for_a_client_that_reads_nothing_for_longer_than_that(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda _: Script(pieces=LONG)
    request = ask.chat(1, model="chat", stream=True)
    async with await start(tmp_path, [{"url": engine.url}], more=IDLE) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address, limit=1024)
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: gateway"]
        lines += [f"Authorization: Bearer {running.key}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(request.body)}", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode() + request.body)
        await asyncio.sleep(4 * IDLE_S)
        while await reader.read(1 << 20):
            pass
        writer.close()
    [row] = list(rows(running.ledger))

    assert (row.ending, row.units["llm.output_tokens"]) == ("ok", len(LONG) - 1)


@pytest.mark.parametrize("n", [1, 2])
async def test_an_engine_that_says_that_it_is_at_work_is_not_silent(
    tmp_path: Path, engine: ScriptedEngine, n: int
) -> None:
    """In a comment, and also where several calls make one reply."""
    engine.script_for = lambda _: Script(
        pieces=(ONE, *[PING] * 8, ONE, Piece(data=END)), between_ms=100
    )
    more = IDLE + '[model.one]\nmodality = "llm"\nn = false\n'
    backend = {"url": engine.url, "serves": {"one": "one"}}
    async with await start(tmp_path, [backend], plugins=["llm"], models={}, more=more) as running:
        request = ask.chat(1, model="one", stream=True, n=n)
        record = await asyncio.wait_for(send(running.url, request, key=running.key), 20)
    [row] = list(rows(running.ledger))

    assert record.ended == "ok"
    assert (row.ending, row.units["llm.output_tokens"]) == ("ok", 2 * n)


async def test_an_engine_that_ends_its_body_a_moment_behind_the_last_event_keeps_its_connection(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    late = Script(pieces=(ONE, Piece(data=END), PING), between_ms=50)
    engine.script_for = lambda _: late
    made = []
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        for tag in (1, 2, 3):
            request = ask.chat(tag, model="chat", stream=True)
            record = await send(running.url, request, key=running.key)
            assert record.ended == "ok"
            made.append(engine.connections_made)

    assert len(set(made)) == 1
