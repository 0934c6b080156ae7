"""A request's head that is too large, or no head at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest
from gateways import start
from oracle.engine import ScriptedEngine

from modgate.testing import FakeBackend, Scripted

REPLY = orjson.dumps(
    {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "t1"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
)
HEADS = [
    ("public", "GET / HTTP/1.1"),
    ("public", "GET /health/live HTTP/1.1"),
    ("public", "GET /v1/models HTTP/1.1"),
    ("public", "OPTIONS /v1/models HTTP/1.1\r\nAccess-Control-Request-Method: GET"),
    ("public", "no head"),
    ("admin", "GET /metrics HTTP/1.1"),
    ("admin", "GET /health/ready HTTP/1.1"),
    ("admin", "GET /admin/v1/nothing HTTP/1.1"),
    ("admin", "POST /admin/v1/reload HTTP/1.1"),
    ("admin", "PUT /admin/v1/tenants/acme HTTP/1.1"),
    ("admin", "no head"),
]


@pytest.mark.parametrize(("listener", "head"), HEADS)
async def test_no_reply_tells_what_it_is_served_by(
    tmp_path: Path, engine: ScriptedEngine, listener: str, head: str
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        app = running.app
        address = app.public_address if listener == "public" else app.admin_address
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"{head}\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            lines = (await reader.read()).lower().split(b"\r\n")
        writer.close()

    assert [line for line in lines if line.startswith(b"server")] == [b"server: modgate"]
    if listener == "public":
        [made] = [line for line in lines if line.startswith(b"x-request-id: req_")]
        assert made.removeprefix(b"x-") in lines


@pytest.mark.parametrize(
    ("path", "header", "status", "said"),
    [
        ("/v1/models", "Authorization: Bearer " + "a" * 20_000, 431, "a header has at most 16384"),
        ("/v1/" + "a" * 9000, "X: y", 431, "a URL 8192"),
        (
            "/v1/models",
            "\r\n".join(f"X-{n}: y" for n in range(1000)),
            431,
            "and a head 100 headers",
        ),
        ("/v1/models", "Too many headers received", 400, "the request is not valid HTTP"),
        ("/v1/models", "no colon", 400, "the request is not valid HTTP"),
    ],
    ids=["header", "url", "headers", "words", "junk"],
)
async def test_a_head_that_is_refused_is_told_why(
    tmp_path: Path, engine: ScriptedEngine, path: str, header: str, status: int, said: str
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{header}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

    assert int(head.split()[1]) == status
    assert said in orjson.loads(body)["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/chat", "/openapi.json", "/v1/usage"])
async def test_head_is_get_without_the_body(
    tmp_path: Path, engine: ScriptedEngine, path: str
) -> None:
    async with (
        await start(tmp_path, [{"url": engine.url}]) as running,
        aiohttp.ClientSession(running.url, headers=running.headers) as session,
    ):
        async with session.get(path) as whole:
            body = await whole.read()
        async with session.head(path) as bare:
            nothing = await bare.read()
        async with session.head("/v1/models/none") as missing:
            status = missing.status

    assert (bare.status, whole.status, status) == (200, 200, 404)
    assert nothing == b""
    assert bare.headers["content-length"] == str(len(body))
    assert bare.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize("path", ["/metrics", "/health/ready", "/admin/v1/tenants"])
async def test_head_is_answered_by_the_admin_listener(
    tmp_path: Path, engine: ScriptedEngine, path: str
) -> None:
    async with (
        await start(tmp_path, [{"url": engine.url}]) as running,
        aiohttp.ClientSession(running.admin) as session,
        session.head(path) as bare,
    ):
        nothing = await bare.read()

    assert (bare.status, nothing) == (200, b"")


@pytest.mark.parametrize(("said", "status"), [("", 200), ("Content-Type: text/plain\r\n", 415)])
async def test_a_body_of_no_type_is_json(
    tmp_path: Path, engine: ScriptedEngine, said: str, status: int
) -> None:
    """Litellm names no type where it asks voyage."""
    body = b'{"model": "chat", "messages": [{"role": "user", "content": "t1."}]}'
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n{said}Connection: close\r\n"
        head += f"Authorization: Bearer {running.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        async with asyncio.timeout(5):
            told = await reader.read()
        writer.close()

    assert int(told.split()[1]) == status


async def test_a_form_without_a_file_is_told_that_it_lacks_one(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """Such a form is no multipart to most clients, as mistral's where a `file_url` is given."""
    async with (
        await start(tmp_path, [{"url": engine.url}]) as running,
        aiohttp.ClientSession(running.url) as session,
        session.post(
            "/v1/audio/transcriptions",
            data={"model": "ears", "file_url": "https://files.example/a.wav"},
            headers={"authorization": f"Bearer {running.key}"},
        ) as reply,
    ):
        told = orjson.loads(await reply.read())

    assert reply.status == 415
    assert "with the file itself in the form" in told["error"]["message"]


async def test_an_engine_gets_no_header_of_the_clients(tmp_path: Path) -> None:
    """None is passed on, and of our own names none counts for an engine.  Source: architecture.md
    12."""
    odd = {"x-modgate-attempt": "7", "x-modgate-tenant": "other", "x-own": "1", "cookie": "a=b"}
    odd |= {"accept-encoding": "gzip", "x-request-id": "theirs", "authorization-extra": "x"}
    body = {"model": "chat", "messages": [{"role": "user", "content": "t1."}]}
    async with FakeBackend() as engine:
        engine.answer("/v1/chat/completions", Scripted(reply=REPLY))
        async with (
            await start(tmp_path, [{"url": engine.url}]) as running,
            aiohttp.ClientSession(running.url, headers=running.headers | odd) as session,
            session.post("/v1/chat/completions", json=body) as reply,
        ):
            made = reply.headers["x-request-id"]
    [seen] = engine.calls
    head = {name.lower(): value for name, value in seen.headers.items()}
    trace = head.pop("traceparent")

    assert reply.status == 200
    assert trace.startswith("00-")
    assert head == {
        "host": engine.url.removeprefix("http://"),
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "modgate",
        "content-type": "application/json",
        "content-length": str(len(seen.body)),
        "x-request-id": made,
        "x-modgate-attempt": "1",
    }
