"""Clients that hold a place without saying anything: a head and a body must come at a pace.

Source: algorithms.md 9.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine, always
from oracle.faults import Piece, Script, huge_event
from rigs.unhurried import UnhurriedLoop, unhurried
from waiting import until

from modgate.http import connection, ingress
from modgate.ledger.reader import rows

HEAD_S, GRACE_S = 0.15, 0.1
WITHIN_S = 5.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", HEAD_S)
    monkeypatch.setattr(ingress, "GRACE_S", GRACE_S)


def head(running: Running, size: int) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: gateway"]
    lines += [f"Authorization: Bearer {running.key}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {size}", "", ""]).encode()


async def drip(writer: asyncio.StreamWriter, times: int) -> None:
    """A byte at a time."""
    for _ in range(times):
        writer.write(b" ")
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("said", [b"", b"POST /v1/chat/comp", b"GET / HTTP/1.1\r\nHost: g\r\n"])
async def test_a_head_that_does_not_come_ends_the_connection(
    tmp_path: Path, engine: ScriptedEngine, said: bytes
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        began = time.monotonic()
        writer.write(said)
        async with asyncio.timeout(WITHIN_S):
            answer = await reader.read()
        took_s = time.monotonic() - began
        writer.close()

    assert answer == b""
    assert took_s >= HEAD_S / 2


async def test_half_a_head_behind_a_request_ends_the_connection_and_silence_does_not(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        whole = b"GET /health/live HTTP/1.1\r\nHost: g\r\n\r\n"
        statuses = []
        for _ in range(2):
            writer.write(whole)
            statuses.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
            await reader.readexactly(len(b'{"status":"ok"}'))
            await asyncio.sleep(2 * HEAD_S)  # a connection that rests is kept
        writer.write(whole[:10])
        async with asyncio.timeout(WITHIN_S):
            rest = await reader.read()
        writer.close()

    assert statuses == [b"200", b"200"]
    assert rest == b""


@pytest.mark.parametrize("first", [0, 64 << 10])
async def test_a_body_that_drips_is_refused_however_fast_it_began(
    tmp_path: Path, engine: ScriptedEngine, first: int
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        writer.write(head(running, first + 1000) + b" " * first)
        dripping = asyncio.create_task(drip(writer, 900))
        async with asyncio.timeout(WITHIN_S):
            answer = await reader.readuntil(b"}}")
        dripping.cancel()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer


async def test_a_body_that_begins_late_is_read(tmp_path: Path, engine: ScriptedEngine) -> None:
    request = ask.transcription(1, model="ears")
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        lines = head(running, len(request.body)).replace(
            b"chat/completions", b"audio/transcriptions"
        )
        writer.write(lines.replace(b"application/json", request.content_type.encode()))
        await asyncio.sleep(3 * GRACE_S)
        writer.write(request.body)
        async with asyncio.timeout(WITHIN_S):
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")


def test_what_an_sdk_bears_counts_from_when_it_has_sent_its_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the queue, too."""
    monkeypatch.setattr(ingress, "GRACE_S", WITHIN_S)
    late = ask.chat(2, model="chat")

    async def answered(loop: UnhurriedLoop) -> bytes:
        async with (
            always(Script(headers_after_ms=2500)) as engine,
            await start(tmp_path, [{"url": engine.url, "slots": 1}]) as running,
        ):
            reader, writer = await asyncio.open_connection(*running.app.public_address)
            lines = head(running, len(late.body)).rstrip()
            writer.write(lines + b"\r\nx-stainless-read-timeout: 2\r\n\r\n")
            await asyncio.sleep(3)
            before = asyncio.create_task(
                send(running.url, ask.chat(1, model="chat"), key=running.key)
            )
            await engine.reached(1)
            await asyncio.sleep(1)
            writer.write(late.body)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await before
            return answer

    assert unhurried(answered).startswith(b"HTTP/1.1 200")


async def test_the_rest_of_a_refused_body_may_take_longer_than_a_head(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        writer.write(head(running, 10_000).replace(running.key.encode(), b"nobody"))
        answer = await reader.readuntil(b"}}")
        for _ in range(6):
            await drip(writer, 10)
            await asyncio.sleep(HEAD_S / 2)
        closed = reader.at_eof() or writer.is_closing()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 401")
    assert not closed


END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
LONG = (*[Piece(data=huge_event(1 << 20))] * 40, Piece(data=END))


@pytest.mark.parametrize("reads", [False, True])
async def test_a_client_that_reads_nothing_loses_its_stream_and_what_it_had_is_billed(
    tmp_path: Path, engine: ScriptedEngine, reads: bool
) -> None:
    """More than the sockets between them hold.  Source: architecture.md 6 (30 s by default)."""
    engine.script_for = lambda record: Script(pieces=LONG)
    request = ask.chat(1, model="chat", stream=True)
    more = "[timeouts]\nclient_stalled = '300ms'\nidle = '60s'\n"
    async with await start(tmp_path, [{"url": engine.url}], more=more) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address, limit=1024)
        writer.write(head(running, len(request.body)) + request.body)
        tail = b""
        while reads and b"[DONE]" not in tail:
            tail = tail[-16:] + await reader.read(1 << 20)
        await until(lambda: bool(list(rows(running.ledger))), WITHIN_S)
        writer.transport.abort()
    [row] = list(rows(running.ledger))

    assert row.ending == ("ok" if reads else "client_gone")
    assert (row.units["llm.output_tokens"] == len(LONG) - 1) is reads


@pytest.mark.slow
async def test_while_a_client_does_not_read_its_engine_is_not_silent(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """Nor when it reads again.  Source: architecture.md 6 (the idle clock of the head)."""
    engine.script_for = lambda record: Script(pieces=LONG)
    request = ask.chat(1, model="chat", stream=True)
    more = "[timeouts]\nclient_stalled = '60s'\nidle = '200ms'\n"
    async with await start(tmp_path, [{"url": engine.url}], more=more) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address, limit=1024)
        writer.write(head(running, len(request.body)) + request.body)
        tail = await reader.read(1024)
        await asyncio.sleep(0.8)  # until both sockets are full, and four times as long as `idle`
        async with asyncio.timeout(WITHIN_S):
            while b"[DONE]" not in tail and not reader.at_eof():
                tail = tail[-16:] + await reader.read(1 << 20)
        await until(lambda: bool(list(rows(running.ledger))), WITHIN_S)
        writer.close()
    [row] = list(rows(running.ledger))

    assert (row.ending, row.units["llm.output_tokens"]) == ("ok", len(LONG) - 1)
