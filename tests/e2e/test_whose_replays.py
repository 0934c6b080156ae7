"""A reply that is kept is told to nobody who could not have had it: keys of one tenant differ."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from gateways import Running, client, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Refusal, Script
from oracle.record import Record
from oracle.requests import ClientRequest
from rigs.policies import house
from toys.several import SEVERAL

from modgate.api.json import Json
from modgate.testing import FakeBackend, Scripted

KEPT = "[idempotency]\nbodies = true\n"
ASKED = ask.embeddings(1, model="vectors").with_headers(**{"Idempotency-Key": "k-1"})


async def less(running: Running, **grant: Json) -> str:
    """Another key of the first tenant."""
    made = {"tenant": "acme", "grant": grant}
    async with client() as session, session.post(f"{running.admin}/admin/v1/keys", json=made) as it:
        answer = await it.json()
        assert it.status == 200, answer
        return str(answer["key"])


async def by_both(running: Running, key: str, asked: ClientRequest = ASKED) -> ClientRecord:
    """What another key gets for what the first one had."""
    first = await send(running.url, asked, key=running.key)
    assert first.status == 200
    second = await send(running.url, asked, key=key)
    again = await send(running.url, asked, key=running.key)
    assert "idempotent-replayed" in again.headers
    return second


def refused(reply: ClientRecord) -> tuple[int | None, str]:
    assert not {"idempotent-replayed", "x-modgate-replay-of"} & {*reply.headers}
    return reply.status, json.loads(reply.body)["error"]["code"]


async def test_a_key_that_may_not_use_the_model_gets_its_error_and_no_reply_of_it(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await start(tmp_path, [{"url": engine.url}], more=KEPT) as running:
        key = await less(running, models=["chat"])
        second = await by_both(running, key)

    assert refused(second) == (404, "model_not_found")


async def test_while_it_runs_a_key_without_the_model_is_not_told_that_it_does(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """It would else learn by a conflict that the tenant asked just this."""
    engine.script_for = lambda record: Script(held=True)
    async with await start(tmp_path, [{"url": engine.url}], more=KEPT) as running:
        key = await less(running, models=["chat"])
        first = asyncio.create_task(send(running.url, ASKED, key=running.key))
        await engine.reached(1, "arrived")
        second = await send(running.url, ASKED, key=key)
        engine.release(1)
        await first

    assert refused(second) == (404, "model_not_found")


async def test_a_reply_of_anywhere_is_not_told_to_a_key_of_fewer_regions(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    nobody = "http://127.0.0.1:9"
    backends = [
        {"url": engine.url, "region": "us", "serves": {"vectors": "engine-vectors"}},
        {"url": nobody, "region": "eu", "serves": {"chat": "engine-chat"}},
    ]
    async with await start(tmp_path, backends, more=KEPT) as running:
        key = await less(running, regions=["eu"])
        second = await by_both(running, key)

    assert refused(second) == (422, "idempotency_key_reused")


async def test_a_reply_of_a_stand_in_is_not_told_to_a_key_without_it(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    def first_fails(record: Record) -> Script:
        failed = record.asked.json.get("model") == "engine-first"
        return Script(refusal=Refusal(status=500)) if failed else OK

    engine.script_for = first_fails
    alike = 'voices = ["alloy"]\n'
    asked = ask.speech(1, model="first").with_headers(**{"Idempotency-Key": "k-1"})
    async with await start(
        tmp_path,
        [{"url": engine.url}],
        tenants={"acme": "fallback = true"},
        models={"first": "tts", "second": "tts"},
        facts={"first": f'{alike}fallback = ["second"]', "second": alike},
        more=KEPT,
    ) as running:
        key = await less(running, models=["first"])
        second = await by_both(running, key, asked)

    assert refused(second) == (422, "idempotency_key_reused")


async def test_where_policies_see_who_asks_a_reply_is_told_to_its_own_key_only(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policy = f'{KEPT}[policy.yes]\nkind = "says"\nsays = "allow"\n'
    async with house(tmp_path, engine, policy) as running:
        key = await less(running)
        second = await by_both(running, key)

    assert refused(second) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("regions", ["", 'regions = ["eu"]'])
async def test_a_key_of_the_same_rights_is_told_the_reply(
    tmp_path: Path, engine: ScriptedEngine, regions: str
) -> None:
    backend = {"url": engine.url, "region": "eu"}
    async with await start(tmp_path, [backend], tenants={"acme": regions}, more=KEPT) as running:
        key = await less(running, models=["vectors"])
        second = await by_both(running, key)

    assert second.status == 200
    assert second.headers["idempotent-replayed"] == "true"
    assert len(engine.records) == 1


@pytest.mark.parametrize("part", ["asks", "calls"])
@pytest.mark.parametrize(("models", "status"), [(["chat"], 422), (["chat", "judge"], 200)])
async def test_a_reply_that_another_model_had_a_part_in_is_told_to_who_may_use_that(
    tmp_path: Path, part: str, models: list[str], status: int
) -> None:
    body = {"model": "chat", "calls": [""], part: ["judge"]}
    async with FakeBackend() as backend:
        backend.answer("/words", Scripted(reply=b'{"word": "yes"}'))
        async with await start(
            tmp_path,
            [{"url": backend.url}],
            plugins=["words", "sounds"],
            models={"chat": "words", "judge": "words"},
            extra=SEVERAL,
            more=KEPT,
        ) as running:
            other = await less(running, models=[*models])
            replies = []
            for key in (running.key, other, running.key):
                headers = {"authorization": f"Bearer {key}", "idempotency-key": "k-1"}
                async with httpx.AsyncClient(base_url=running.url, headers=headers) as session:
                    replies.append(await session.post("/v1/words", json=body))
            sent = len(backend.calls)

    assert [reply.status_code for reply in replies] == [200, status, 200]
    assert "idempotent-replayed" in replies[-1].headers
    assert sent == len(body["calls"]) + (part == "asks")
