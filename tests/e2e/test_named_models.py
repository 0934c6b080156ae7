"""A header names the model before the body does: what is in vain is refused before it is read.

Source: algorithms.md 2.1; field.md row 20.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from gateways import MODELS, Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.requests import ClientRequest

from modgate.ledger.reader import rows

WITHIN_S = 20.0
OWN = {"idle": "llm", "spent": "llm", "theirs": "llm"}
FACTS = {"idle": 'aliases = ["lazy"]'}
LIMITS = f"""
models = {[*MODELS, "idle", "spent"]}
limits = {{ models = {{ spent = {{ units = {{ "llm.output_tokens" = "8/day" }} }} }} }}
"""
SAMPLES = {
    "chat": ask.chat(1, model="chat"),
    "eyes": ask.vision(2, model="eyes"),
    "ears": ask.transcription(3, model="ears", duration_ms=200),
    "voice": ask.speech(4, model="voice"),
    "pages": ask.ocr(5, model="pages"),
    "vectors": ask.embeddings(6, model="vectors"),
    "ranks": ask.rerank(7, model="ranks"),
}


@pytest.fixture
async def running(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    async with await start(
        tmp_path,
        [{"url": engine.url}],
        tenants={"acme": LIMITS},
        models={**MODELS, **OWN},
        facts=FACTS,
    ) as made:
        yield made


def unnamed(request: ClientRequest) -> ClientRequest:
    """The same without a model in its body."""
    if request.content_type != "application/json":
        return replace(request, body=request.body.replace(b'name="model"', b'name="user"'))
    body = json.loads(request.body)
    del body["model"]
    return replace(request, body=json.dumps(body).encode())


async def answer_to_head(running: Running, model: str, path: str, body_bytes: int = 1 << 20) -> str:
    """The first line of what comes to a head alone, of a client that waits with its body."""
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {running.key}"]
    lines += ["Content-Type: application/json", f"Content-Length: {body_bytes}"]
    lines += [f"X-Modgate-Model: {model}", "Expect: 100-continue", "", ""]
    reader, writer = await asyncio.open_connection(*running.app.public_address)
    async with asyncio.timeout(WITHIN_S):
        writer.write("\r\n".join(lines).encode("utf-8", "surrogateescape"))
        answer = await reader.readuntil(b"\r\n")
    writer.close()
    return answer.decode().strip()


@pytest.mark.parametrize("model", SAMPLES)
async def test_a_body_may_leave_out_the_model_that_its_header_names(
    running: Running, model: str
) -> None:
    asked = SAMPLES[model]
    plain = await send(running.url, asked, key=running.key)

    named = unnamed(asked).with_headers(X_Modgate_Model=model)
    reply = await send(running.url, named, key=running.key)

    assert (reply.status, plain.status) == (200, 200)
    assert [row.model for row in rows(running.ledger)] == [model, model]
    assert reply.units == plain.units


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("nobody", "404 Not Found"),
        ("theirs", "404 Not Found"),
        ("ears", "400 Bad Request"),
        ("\udcff", "404 Not Found"),
        ("idle", "100 Continue"),
    ],
)
async def test_what_is_in_vain_is_refused_before_its_body(
    running: Running, model: str, line: str
) -> None:
    answer = await answer_to_head(running, model, "/v1/chat/completions")

    assert answer == f"HTTP/1.1 {line}"


async def test_a_models_own_limit_refuses_before_the_body(running: Running) -> None:
    spends = ask.chat(1, model="spent", max_tokens=8)
    assert (await send(running.url, spends, key=running.key)).status == 200

    answers = [
        await answer_to_head(running, model, "/v1/chat/completions")
        for model in ("spent", "idle", "eyes")
    ]

    assert answers[0].startswith("HTTP/1.1 429")
    assert answers[1:] == ["HTTP/1.1 100 Continue"] * 2


async def test_it_is_the_models_own_cap_that_counts(running: Running) -> None:
    path, body_bytes = "/v1/chat/completions", 40 << 20

    answers = [
        await answer_to_head(running, model, path, body_bytes) for model in ("chat", "eyes", "")
    ]

    assert answers[0].startswith("HTTP/1.1 413")
    assert answers[1:] == ["HTTP/1.1 100 Continue"] * 2


async def test_a_body_that_names_another_model_is_refused(running: Running) -> None:
    asked = ask.chat(1, model="idle")
    by_alias, other = (asked.with_headers(X_Modgate_Model=name) for name in ("lazy", "eyes"))

    alike = await send(running.url, by_alias, key=running.key)
    refused = await send(running.url, other, key=running.key)

    assert (alike.status, refused.status) == (200, 400)


ONCE = unnamed(ask.chat(1)).with_headers(Idempotency_Key="once")
IDLE = ONCE.with_headers(X_Modgate_Model="idle")


ASKS = replace(IDLE, path=f"{IDLE.path}?tier=1")


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (IDLE, ONCE.with_headers(X_Modgate_Model="chat")),
        (IDLE, replace(IDLE, path=f"{IDLE.path}?tier=%ff")),
        (ASKS, replace(IDLE, path=f"{IDLE.path}?tier=1%00")),
    ],
    ids=["model", "query", "a query of zeros more"],
)
async def test_a_kept_reply_is_none_of_another_request_with_the_same_body(
    running: Running, first: ClientRequest, other: ClientRequest
) -> None:
    await send(running.url, first, key=running.key)

    again = await send(running.url, first, key=running.key)
    reused = await send(running.url, other, key=running.key)

    assert again.status == 409
    assert reused.status == 422
