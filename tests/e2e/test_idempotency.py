"""Requests with an Idempotency-Key: done once, billed once, and told again what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, Leave, send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Fault, Refusal, Script
from oracle.record import Record
from oracle.requests import ClientRequest
from servers import Server
from waiting import until

from modgate.ledger.reader import rows

Where = Literal["memory", "redis"]
KEPT = "[idempotency]\nbodies = true\n"
REQUESTS = {
    "llm": ask.chat(1, model="chat", stream=False),
    "vlm": ask.vision(1, model="eyes", stream=False),
    "asr": ask.transcription(1, model="ears", duration_ms=900),
    "tts": ask.speech(1, model="voice", sentences=1),
    "ocr": ask.ocr(1, model="pages"),
    "embedding": ask.embeddings(1, model="vectors"),
    "rerank": ask.rerank(1, model="ranks", documents=3),
}


@asynccontextmanager
async def gateway(
    folder: Path, engine: ScriptedEngine, more: str = KEPT, tenants: dict[str, str] | None = None
) -> AsyncIterator[Running]:
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with await start(folder, [{"url": engine.url}], tenants=tenants, more=more) as running:
        yield running


def keyed(request: ClientRequest, key: str = "k-1", header: str = "") -> ClientRequest:
    return request.with_headers(**{header or "Idempotency-Key": key})


def shared(store: Server, more: str = KEPT) -> str:
    return f'{more}\n[limits.store]\nurl = "{store.url}"\ndeadline = "30s"\n'


@pytest.fixture(params=["memory", "redis"])
def where(request: pytest.FixtureRequest) -> str:
    """The lines of the configuration that say where keys lie."""
    kind: Where = request.param
    if kind == "memory":
        return KEPT
    return shared(request.getfixturevalue("store"))


async def ask_until_free(running: Running, request: ClientRequest) -> ClientRecord:
    """Its reply as soon as the store was told that the one before it ended."""
    reply = await send(running.url, request, key=running.key)
    while reply.status == 409:
        await asyncio.sleep(0.05)
        reply = await send(running.url, request, key=running.key)
    return reply


async def ask_twice(running: Running, request: ClientRequest) -> list[ClientRecord]:
    return [await send(running.url, request, key=running.key) for _ in range(2)]


def billed(running: Running) -> list[str]:
    return [row.id for row in rows(running.ledger)]


@pytest.mark.parametrize("modality", REQUESTS)
async def test_a_reply_is_sent_again_byte_by_byte_with_one_bill(
    tmp_path: Path, engine: ScriptedEngine, where: str, modality: str
) -> None:
    async with gateway(tmp_path / "g", engine, where) as running:
        first, second = await ask_twice(running, keyed(REQUESTS[modality]))

    assert (first.status, second.status) == (200, 200)
    assert second.body == first.body
    assert second.body_bytes == first.body_bytes > 0
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-modgate-replay-of"] == first.request_id
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers.get("x-modgate-units") == first.headers.get("x-modgate-units")
    assert billed(running) == [first.request_id]


async def test_speech_that_came_in_pieces_is_sent_again_whole(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda _: replace(OK, between_ms=5)
    engines = [{"url": engine.url, "serves": {"voice": "v"}}]
    one_by_one = '[plugin.tts]\nwidth = 1\n[model.voice]\nmodality = "tts"\n'
    async with await start(tmp_path, engines, plugins=[], more=KEPT + one_by_one) as running:
        first, second = await ask_twice(running, keyed(REQUESTS["tts"]))

    assert second.headers["idempotent-replayed"] == "true"
    assert second.body == first.body != b""


async def test_a_reply_that_is_sent_again_says_how_it_was_served(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a demo model, and at the second try; where it stands with its limits is said anew."""
    engine.script_for = lambda record: OK if record.call else Script(refusal=Refusal(status=502))
    limits = 'limits = { requests = "9/min" }'
    async with gateway(tmp_path / "g", engine, tenants={"acme": limits}) as running:
        models = running.app.state.gateway().table.models
        monkeypatch.setitem(models, "vectors", replace(models["vectors"], demo=True))
        first, second = await ask_twice(running, keyed(REQUESTS["embedding"]))
    own = {"date", "openai-processing-ms", "request-id", "x-request-id", "x-modgate-upstream-ms"}
    again = {"idempotent-replayed": "true", "x-modgate-replay-of": first.request_id}

    assert "x-modgate-upstream-ms" not in second.headers
    assert first.headers["x-modgate-demo"] == "true"
    assert first.headers["x-modgate-attempts"] == "2"
    assert {name: said for name, said in second.headers.items() if name not in own} == {
        **{name: said for name, said in first.headers.items() if name not in own},
        **again,
        "x-ratelimit-remaining-requests": "7",
        "x-ratelimit-reset-requests": second.headers["x-ratelimit-reset-requests"],
    }


async def test_a_reply_in_the_words_of_one_sdk_is_not_sent_to_another(
    tmp_path: Path, engine: ScriptedEngine, where: str
) -> None:
    asked = keyed(REQUESTS["llm"])
    mistrals = asked.with_headers(**{"User-Agent": "mistral-client-python/3.7.0"})
    async with gateway(tmp_path / "g", engine, where) as running:
        await send(running.url, asked, key=running.key)
        other = await send(running.url, mistrals, key=running.key)
        again = await send(running.url, asked, key=running.key)

    assert other.status == 422
    assert json.loads(other.body)["code"] == "idempotency_key_reused"
    assert again.headers["idempotent-replayed"] == "true"
    assert len(engine.records) == 1


async def test_another_body_under_the_same_key_is_refused(
    tmp_path: Path, engine: ScriptedEngine, where: str
) -> None:
    other = ask.embeddings(2, model="vectors")
    async with gateway(tmp_path / "g", engine, where) as running:
        await send(running.url, keyed(REQUESTS["embedding"]), key=running.key)
        reply = await send(running.url, keyed(other), key=running.key)

    assert reply.status == 422
    assert json.loads(reply.body)["error"]["code"] == "idempotency_key_reused"
    assert len(engine.records) == 1


async def test_while_it_runs_the_key_is_in_conflict_and_says_when_to_come_back(
    tmp_path: Path, engine: ScriptedEngine, where: str
) -> None:
    engine.script_for = lambda record: Script(held=True)
    request = keyed(REQUESTS["embedding"])
    async with gateway(tmp_path / "g", engine, where) as running:
        running_first = asyncio.create_task(send(running.url, request, key=running.key))
        await engine.reached(1, "arrived")
        reply = await send(running.url, request, key=running.key)
        engine.release(1)
        first = await running_first

    assert reply.status == 409
    assert json.loads(reply.body)["error"]["code"] == "idempotency_in_progress"
    assert reply.headers["retry-after"] == "1"
    assert first.status == 200
    assert billed(running) == [first.request_id]


@pytest.mark.parametrize("how", ["refused", "broken", "gone"])
async def test_a_request_that_failed_frees_its_key(
    tmp_path: Path, engine: ScriptedEngine, where: str, how: str
) -> None:
    faults = {
        "refused": Script(refusal=Refusal(status=400)),
        "broken": Script(fault=Fault(kind="reset", after=0)),
        "gone": Script(fault=Fault(kind="silence", after=0)),
    }
    spoilt = [True]

    def script_for(record: Record) -> Script:
        return faults[how] if spoilt[0] else OK

    engine.script_for = script_for
    request = keyed(REQUESTS["embedding"])
    leave = Leave(at="sent", after_ms=200) if how == "gone" else None
    async with gateway(tmp_path / "g", engine, where) as running:
        failed = await send(running.url, request, key=running.key, leave=leave)
        spoilt[0] = False
        again = await ask_until_free(running, request)

    assert failed.status != 200
    assert again.status == 200
    assert "idempotent-replayed" not in again.headers


async def test_a_stream_is_not_replayed_and_its_key_is_free_when_it_ends(
    tmp_path: Path, engine: ScriptedEngine, where: str
) -> None:
    request = keyed(ask.chat(1, model="chat", stream=True))
    engine.script_for = lambda record: Script(gated=True)
    async with gateway(tmp_path / "g", engine, where) as running:
        streaming = asyncio.create_task(send(running.url, request, key=running.key))
        await engine.reached(1, "piece")
        meanwhile = await send(running.url, request, key=running.key)
        engine.release(1, pieces=8)
        first = await streaming
        engine.script_for = lambda record: OK
        second = await ask_until_free(running, request)

    assert (first.ended, meanwhile.status, second.ended) == ("ok", 409, "ok")
    assert "idempotent-replayed" not in second.headers
    assert len(billed(running)) == 2


async def test_of_streams_that_come_at_once_with_one_key_one_reaches_an_engine(
    tmp_path: Path, engine: ScriptedEngine, where: str
) -> None:
    request = keyed(ask.chat(1, model="chat", stream=True))
    engine.script_for = lambda record: Script(gated=True)
    async with gateway(tmp_path / "g", engine, where) as running:
        asked = [asyncio.create_task(send(running.url, request, key=running.key)) for _ in range(4)]
        await engine.reached(1, "piece")
        await until(lambda: sum(each.done() for each in asked) == 3)
        engine.release(1, pieces=8)
        statuses = sorted([each.status for each in await asyncio.gather(*asked)])

    assert statuses == [200, 409, 409, 409]
    assert len(engine.records) == len(billed(running)) == 1


async def test_without_bodies_only_the_outcome_is_kept_and_the_work_is_not_done_twice(
    tmp_path: Path, engine: ScriptedEngine, store: Server
) -> None:
    more = shared(store, "")
    async with gateway(tmp_path / "g", engine, more) as running:
        first, second = await ask_twice(running, keyed(REQUESTS["embedding"]))
        client = running.app.state.idempotency.shared
        assert client is not None
        held = [await client._client.get(key) for key in await client._client.keys("*once*")]

    assert second.status == 409
    assert json.loads(second.body)["error"]["code"] == "idempotency_reply_not_kept"
    assert first.request_id is not None
    assert first.request_id in json.loads(second.body)["error"]["message"]
    assert second.headers["x-should-retry"] == "false"
    assert "retry-after" not in second.headers
    assert len(held) == 1
    assert len(held[0]) < 200
    assert b"k-1" not in held[0]
    assert len(engine.records) == 1


async def test_a_reply_over_the_bound_is_not_kept(tmp_path: Path, engine: ScriptedEngine) -> None:
    more = "[idempotency]\nbodies = true\nreply_bytes = '1KiB'\n"
    async with gateway(tmp_path / "g", engine, more) as running:
        first, second = await ask_twice(running, keyed(REQUESTS["tts"]))

    assert first.status == 200
    assert second.status == 409


async def test_two_gateways_at_one_store_do_it_once(
    tmp_path: Path, engine: ScriptedEngine, store: Server
) -> None:
    request = keyed(REQUESTS["rerank"])
    async with (
        gateway(tmp_path / "one", engine, shared(store)) as one,
        gateway(tmp_path / "two", engine, shared(store)) as two,
    ):
        first = await send(one.url, request, key=one.key)
        second = await send(two.url, request, key=two.key)

    assert second.headers["idempotent-replayed"] == "true"
    assert second.body == first.body
    assert billed(one) == [first.request_id]
    assert billed(two) == []


async def test_a_replay_is_limited_by_no_unit(tmp_path: Path, engine: ScriptedEngine) -> None:
    tenants = {"acme": 'limits = { units = { "embedding.inputs" = "2/hour" } }'}
    request = keyed(REQUESTS["embedding"])
    async with gateway(tmp_path / "g", engine, KEPT, tenants) as running:
        first = await send(running.url, request, key=running.key)
        spent = [
            await send(running.url, ask.embeddings(n, model="vectors"), key=running.key)
            for n in range(2, 5)
        ]
        again = await send(running.url, request, key=running.key)

    assert first.status == 200
    assert spent[-1].status == 429
    assert again.status == 200
    assert again.headers["idempotent-replayed"] == "true"


async def test_tenants_do_not_share_keys(tmp_path: Path, engine: ScriptedEngine) -> None:
    tenants = {"acme": "", "other": ""}
    request = keyed(REQUESTS["embedding"])
    async with gateway(tmp_path / "g", engine, KEPT, tenants) as running:
        replies = [await send(running.url, request, key=key) for key in running.keys.values()]

    assert [reply.status for reply in replies] == [200, 200]
    assert "idempotent-replayed" not in replies[1].headers
    assert len(billed(running)) == 2


async def test_a_form_is_the_same_with_another_boundary(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    request = REQUESTS["asr"]
    boundary = request.content_type.partition("boundary=")[2]
    other = replace(
        request,
        content_type=request.content_type.replace(boundary, "quite-another"),
        body=request.body.replace(boundary.encode(), b"quite-another"),
    )
    async with gateway(tmp_path / "g", engine) as running:
        first = await send(running.url, keyed(request), key=running.key)
        second = await send(running.url, keyed(other), key=running.key)

    assert first.status == 200
    assert second.headers["idempotent-replayed"] == "true"


async def test_while_the_store_is_paused_a_keyed_request_is_not_begun(
    tmp_path: Path, engine: ScriptedEngine, store: Server
) -> None:
    more = f'{KEPT}\n[limits.store]\nurl = "{store.url}"\n'
    async with gateway(tmp_path / "g", engine, more) as running:
        store.pause()
        try:
            keyed_reply = await send(running.url, keyed(REQUESTS["embedding"]), key=running.key)
            plain_reply = await send(running.url, REQUESTS["embedding"], key=running.key)
        finally:
            store.go_on()

    assert keyed_reply.status == 503
    assert json.loads(keyed_reply.body)["error"]["code"] == "idempotency_unavailable"
    assert plain_reply.status == 200


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_none_is_refused_by_name(
    tmp_path: Path, engine: ScriptedEngine, key: str
) -> None:
    async with gateway(tmp_path / "g", engine) as running:
        reply = await send(running.url, keyed(REQUESTS["embedding"], key), key=running.key)

    assert reply.status == 400
    assert json.loads(reply.body)["error"]["param"] == "idempotency-key"


async def test_the_alias_is_the_same_key(tmp_path: Path, engine: ScriptedEngine) -> None:
    request = REQUESTS["embedding"]
    async with gateway(tmp_path / "g", engine) as running:
        await send(running.url, keyed(request), key=running.key)
        again = await send(running.url, keyed(request, header="X-Idempotency-Key"), key=running.key)

    assert again.headers["idempotent-replayed"] == "true"


async def test_a_reply_of_another_model_says_so_when_it_is_sent_again(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    def first_fails(record: Record) -> Script:
        failed = record.asked.json.get("model") == "engine-first"
        return Script(refusal=Refusal(status=500)) if failed else OK

    engine.script_for = first_fails
    alike = 'voices = ["alloy"]\n'
    request = keyed(ask.speech(1, model="first"))
    async with await start(
        tmp_path,
        [{"url": engine.url}],
        tenants={"acme": "fallback = true"},
        models={"first": "tts", "second": "tts"},
        facts={"first": f'{alike}fallback = ["second"]', "second": alike},
        more=KEPT,
    ) as running:
        told = [await send(running.url, request, key=running.key) for _ in range(2)]

    assert [each.status for each in told] == [200, 200]
    assert "idempotent-replayed" in told[1].headers
    assert [each.headers["x-modgate-degraded"] for each in told] == ["second", "second"]
