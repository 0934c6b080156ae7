"""A request that is only tried on: decided and reserved as any other, sent to no engine, unbilled.

Source: field.md (what none of them has, 14); RFD 58.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Script
from oracle.requests import ClientRequest
from rigs.each import BESIDES_CHAT
from rigs.policies import ASKS, house

from modgate.ledger.reader import rows
from modgate.plugin import Receipt

REQUESTS: dict[str, ClientRequest] = {
    "llm": ask.chat(1, model="chat", max_tokens=50),
    "llm stream": ask.chat(2, model="chat", stream=True, max_tokens=50),
    **BESIDES_CHAT,
}
COUNTED = {
    "llm": "llm.output_tokens",
    "vlm": "vlm.images",
    "asr": "asr.audio_ms",
    "tts": "tts.characters",
    "ocr": "ocr.pages",
    "embedding": "embedding.inputs",
    "rerank": "rerank.documents",
}
PRICES = """
[price.first]
effective = 2020-01-01
currency = "EUR"
units = { "llm.input_tokens" = "1/1k", "llm.output_tokens" = "10/1k", "llm.requests" = "2/1k" }
"""


async def tried_on(
    running: Running, request: ClientRequest, said: str = "true", **more: str
) -> tuple[ClientRecord, Mapping[str, object]]:
    """The reply to a dry run."""
    dry = request.with_headers(x_modgate_dry_run=said, **more)
    record = await send(running.url, dry, key=running.key)
    return record, json.loads(record.body) if record.body else {}


def left(record: ClientRecord, unit: str) -> str:
    return record.headers[f"x-ratelimit-remaining-{unit}"]


@pytest.mark.parametrize("route", REQUESTS)
async def test_it_says_what_would_be_reserved_and_asks_no_engine(
    tmp_path: Path, engine: ScriptedEngine, route: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Receipt] = []
    caplog.set_level(logging.INFO, "modgate.request")
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        running.app.state.observer.also(seen.append)
        record, said = await tried_on(running, REQUESTS[route])
        metrics = (await running.app.state.observer.rendered()).decode()
    modality = route.split()[0]
    reserved = said["reserved"]

    assert (record.status, record.headers["x-modgate-dry-run"]) == (200, "true")
    assert (said["object"], said["id"], said["modality"]) == (
        "dry_run",
        record.request_id,
        modality,
    )
    assert said["stream"] is (route in ("llm stream", "tts"))
    assert isinstance(reserved, dict)
    assert reserved[COUNTED[modality]] > 0
    assert (said["engine"], said["waiting"], said["cost"]) == ("free", 0, None)
    assert engine.records == []
    assert list(rows(running.ledger)) == []
    assert (seen[0].units, seen[0].reserved, seen[0].admitted) == ({}, reserved, False)
    assert "modgate_units_total{" not in metrics
    assert [line.dry_run for line in caplog.records if hasattr(line, "dry_run")] == ["true"]


async def test_units_that_it_reserved_are_free_again_and_the_request_itself_is_counted(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    limits = 'limits = { requests = "9/hour", units = { "llm.output_tokens" = "90/hour" } }'
    tenants = {"acme": limits}
    async with await start(tmp_path, [{"url": engine.url}], tenants=tenants) as running:
        records = [(await tried_on(running, REQUESTS["llm"]))[0] for _ in range(4)]
        large, _ = await tried_on(running, ask.chat(9, model="chat", max_tokens=120))
        engine.script_for = lambda record: Script(tokens=60)
        sent = await send(running.url, REQUESTS["llm"], key=running.key)
        refused, error = await tried_on(running, REQUESTS["llm"])

    assert [left(each, "output-tokens") for each in records] == ["40"] * 4
    assert [left(each, "requests") for each in records] == ["8", "7", "6", "5"]
    assert large.status == 200  # a single one may be larger than its limit
    assert sent.status == 200
    assert refused.status == 429  # as the request itself would be
    assert isinstance(error["error"], dict)
    assert error["error"]["code"] == "insufficient_quota"
    assert len(list(rows(running.ledger))) == 1


async def test_it_says_what_the_reserve_would_cost_and_spends_no_budget(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    tenants = {"acme": 'limits = { cost = "1 EUR/month" }'}
    async with await start(
        tmp_path, [{"url": engine.url}], tenants=tenants, more=PRICES
    ) as running:
        record, said = await tried_on(running, REQUESTS["llm"])
        again, _ = await tried_on(running, REQUESTS["llm"])
        unpriced, _ = await tried_on(running, REQUESTS["embedding"])
    reserved = said["reserved"]
    assert isinstance(reserved, dict)
    micro = 1000 * reserved["llm.input_tokens"] + 10_000 * 50 + 2000

    assert said["cost"] == {
        "currency": "EUR",
        "micro": micro,
        "amount": f"0.{micro:06}",
    }
    assert left(record, "cost") == left(again, "cost")
    assert unpriced.status == 403  # a budget needs a price, also of the request itself


async def test_one_that_would_take_no_unit_has_a_cost_only_where_there_are_prices(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    count = replace(
        REQUESTS["llm"],
        path="/v1/messages/count_tokens",
        body=b'{"model": "chat", "messages": [{"role": "user", "content": "How many?"}]}',
    )
    costs, calls = [], []
    for name, prices in (("unpriced", ""), ("priced", PRICES)):
        folder = tmp_path / name
        folder.mkdir()
        async with await start(folder, [{"url": engine.url}], more=prices) as running:
            _, said = await tried_on(running, count)
        costs.append(said["cost"])
        calls.append((said["calls"], said["reserved"]))

    assert calls == [(0, {})] * 2
    assert costs == [None, {"currency": "EUR", "micro": 2000, "amount": "0.002000"}]


async def test_what_would_be_refused_is_refused(tmp_path: Path, engine: ScriptedEngine) -> None:
    policy = '[policy.no]\nkind = "says"\nsays = "deny"\n'
    async with house(tmp_path, engine, policy) as running:
        denied, _ = await tried_on(running, REQUESTS["llm"])
        missing, _ = await tried_on(running, ask.chat(1, model="nothing"))
        wrong, _ = await tried_on(running, ask.chat(1, model="chat", max_tokens=-1))

    assert [denied.status, missing.status, wrong.status] == [403, 404, 400]
    assert engine.records == []


async def test_what_must_ask_an_engine_before_it_is_planned_cannot_be_tried_on(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with house(tmp_path, engine, ASKS) as running:
        record, said = await tried_on(running, REQUESTS["llm"])

    assert record.status == 400
    assert isinstance(said["error"], dict)
    assert said["error"]["code"] == "dry_run_unsupported"
    assert engine.records == []


async def test_one_that_can_do_without_the_engines_count_is_planned_by_estimate(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    backend = {"url": engine.url, "family": "llamacpp"}
    facts = {"chat": "context = 4096"}
    async with await start(tmp_path, [backend], plugins=("llm",), facts=facts) as running:
        record, said = await tried_on(running, REQUESTS["llm"])

    assert record.status == 200
    assert isinstance(said["reserved"], dict)
    assert said["reserved"]["llm.input_tokens"] > 0
    assert engine.records == []


async def test_it_takes_no_idempotency_key(tmp_path: Path, engine: ScriptedEngine) -> None:
    keyed = REQUESTS["embedding"].with_headers(Idempotency_Key="k-1")
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        first, _ = await tried_on(running, keyed)
        sent = await send(running.url, keyed, key=running.key)
        second, _ = await tried_on(running, keyed)

    assert [first.status, sent.status, second.status] == [200] * 3
    assert "idempotent-replayed" not in second.headers
    assert len(engine.records) == 1


@pytest.mark.parametrize(
    ("said", "dry"),
    [("false", False), ("False", False), ("0", False), ("1", True), ("yes", True)],
)
async def test_whoever_says_anything_but_no_is_not_billed(
    tmp_path: Path, engine: ScriptedEngine, said: str, *, dry: bool
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        record, _ = await tried_on(running, REQUESTS["embedding"], said)

    assert ("x-modgate-dry-run" in record.headers) is dry
    assert (engine.records == []) is dry
    assert (list(rows(running.ledger)) == []) is dry


async def test_it_says_how_the_engines_stand_that_would_be_asked(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    backends = [
        {"url": engine.url, "region": "eu", "slots": 1, "serves": {"chat": "e"}},
        {"url": "http://127.0.0.1:1", "region": "us", "serves": {"chat": "e", "vectors": "e"}},
    ]
    tenants = {"acme": "", "here": 'regions = ["eu"]'}
    more = '[state]\nregion = "eu"\n'
    async with await start(
        tmp_path, backends, plugins=("llm", "embedding"), tenants=tenants, more=more
    ) as running:
        fleet = running.app.gateway.fleet
        here = REQUESTS["embedding"].with_headers(
            x_modgate_dry_run="true", x_api_key=running.keys["here"]
        )
        _, free = await tried_on(running, REQUESTS["llm"])
        none = await send(running.url, here)
        for seat in fleet.pools["chat"].seats:
            seat.slots.taken += seat.slots.limit
        _, busy = await tried_on(running, REQUESTS["llm"])
        for seat in fleet.pools["chat"].seats:
            seat.slots.taken = 0
            seat.health.until = float("inf")
        _, away = await tried_on(running, REQUESTS["llm"])

    said = [free["engine"], busy["engine"], away["engine"], json.loads(none.body)["engine"]]
    assert said == ["free", "busy", "away", "none"]
