"""A tenant that is over its limit is refused before its upload is read.

Source: architecture.md 8; RFC 9110 10.1.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.requests import ClientRequest
from sdks import openai
from servers import redis

from modgate.http.connection import Connection

LIMITS = 'limits = { units = { "asr.audio_seconds" = "2/day", "llm.output_tokens" = "8/day" } }'
UPLOAD_BYTES = 25 << 20
WITHIN_S = 20.0
PLUGINS = ("llm", "asr")  # a chat may be of another modality, whose limit is not spent
KINDS = ("speech", "chat")
SPEECH = ("/v1/audio/transcriptions", "multipart/form-data; boundary=b")
CHAT = ("/v1/chat/completions", "application/json")


@dataclass
class Counted:
    """Bytes that the gateway took from sockets."""

    taken: int = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found, received = Counted(), Connection.data_received

    def counting(self: Connection, data: bytes) -> None:
        found.taken += len(data)
        received(self, data)

    monkeypatch.setattr(Connection, "data_received", counting)
    return found


@pytest.fixture
async def running(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    made = await start(tmp_path, [{"url": engine.url}], tenants={"acme": LIMITS}, plugins=PLUGINS)
    yield made
    await made.app.close()


def spending(kind: str) -> ClientRequest:
    """A request that spends all of it."""
    if kind == "speech":
        return ask.transcription(1, model="ears", duration_ms=2000)
    return ask.chat(1, model="chat", max_tokens=8)


def head(running: Running, kind: str, *lines: str) -> bytes:
    path, content = SPEECH if kind == "speech" else CHAT
    first = [f"POST {path} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {running.key}"]
    rest = [f"Content-Type: {content}", f"Content-Length: {UPLOAD_BYTES}", *lines, "", ""]
    return "\r\n".join([*first, *rest]).encode()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_refusal_comes_before_the_body_and_nothing_of_that_is_held(
    running: Running, counted: Counted, kind: str
) -> None:
    assert (await send(running.url, spending(kind), key=running.key)).status == 200
    counted.taken = 0
    held = running.app.state.limits.total
    reader, writer = await asyncio.open_connection(*running.app.public_address)
    first, sent, most = head(running, kind), 0, 0
    async with asyncio.timeout(WITHIN_S):
        writer.write(first)
        answer = await reader.readuntil(b"\r\n\r\n")
        before = counted.taken
        while sent < UPLOAD_BYTES:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16
            most = max(most, held.get("body_bytes", 0), held.get("spool_bytes", 0))
        await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert before == len(first)
    assert most == 0
    assert held == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_who_asks_before_sending_is_refused_and_sends_nothing(
    running: Running, counted: Counted, kind: str
) -> None:
    assert (await send(running.url, spending(kind), key=running.key)).status == 200
    counted.taken = 0
    reader, writer = await asyncio.open_connection(*running.app.public_address)
    first = head(running, kind, "Expect: 100-continue")
    async with asyncio.timeout(WITHIN_S):
        writer.write(first)
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert counted.taken == len(first)


async def test_who_asks_before_sending_is_told_to_go_on(running: Running) -> None:
    chat = spending("chat")
    reader, writer = await asyncio.open_connection(*running.app.public_address)
    lines = [f"POST {CHAT[0]} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {running.key}"]
    lines += [f"Content-Type: {CHAT[1]}", f"Content-Length: {len(chat.body)}"]
    async with asyncio.timeout(WITHIN_S):
        writer.write("\r\n".join([*lines, "Expect: 100-continue", "", ""]).encode())
        word = await reader.readuntil(b"\r\n\r\n")
        writer.write(chat.body)
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert word == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_clients_that_read_only_when_they_have_sent_all_see_the_refusal(
    running: Running,
) -> None:
    assert (await send(running.url, spending("speech"), key=running.key)).status == 200
    upload = ("speech.wav", bytes(UPLOAD_BYTES), "audio/wav")
    async with openai.AsyncOpenAI(
        base_url=f"{running.url}/v1", api_key=running.key, max_retries=0
    ) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.audio.transcriptions.create(model="ears", file=upload)
    form = aiohttp.FormData({"model": "ears"})
    sound = BytesIO(bytes(UPLOAD_BYTES))
    form.add_field("file", sound, filename="speech.wav", content_type="audio/wav")
    async with (
        aiohttp.ClientSession(headers=running.headers) as session,
        session.post(f"{running.url}{SPEECH[0]}", data=form) as reply,
    ):
        status = reply.status

    assert caught.value.code == "insufficient_quota"
    assert status == 429


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with redis(tmp_path) as server:
        yield server.url


async def test_an_upload_is_refused_for_what_another_gateway_admitted(
    tmp_path: Path, url: str, engine: ScriptedEngine, counted: Counted
) -> None:
    made: list[Running] = []
    more = f'[limits.store]\nurl = "{url}"\nreplicas = 2\ndeadline = "2s"'
    try:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            backends = [{"url": engine.url}]
            made.append(
                await start(
                    tmp_path / name, backends, tenants={"acme": LIMITS}, plugins=PLUGINS, more=more
                )
            )
        spent = await send(made[0].url, spending("speech"), key=made[0].key)
        counted.taken = 0
        reader, writer = await asyncio.open_connection(*made[1].app.public_address)
        first = head(made[1], "speech", "Expect: 100-continue")
        async with asyncio.timeout(WITHIN_S):
            writer.write(first)
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    finally:
        for running in made:
            await running.app.close()

    assert spent.status == 200
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert counted.taken == len(first)
