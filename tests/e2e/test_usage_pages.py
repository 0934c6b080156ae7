"""`/v1/usage` and `/v1/usage/{id}`: a tenant's own use, and never another's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import Refusal, Script

from modgate.api.json import Json
from modgate.cli import main
from modgate.ledger.reader import rows
from modgate.money.invoice import Tariff, decimal, money_by, units_by

PRICES = """
[price.first]
effective = 2020-01-01
currency = "EUR"
units = { "llm.input_tokens" = "1/1M", "llm.output_tokens" = "10/1M" }
[[price.first.case]]
tenant = "beta"
units = { "llm.output_tokens" = "1/1M" }
"""


@pytest.fixture
async def running(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    """A gateway with prices, and two tenants."""
    tenants = {"acme": "", "beta": ""}
    async with await start(
        tmp_path,
        [{"url": engine.url, "region": "eu"}],
        tenants=tenants,
        more=PRICES,
        plugins=("llm", "tts"),
    ) as made:
        yield made


async def got(running: Running, path: str, tenant: str = "acme") -> tuple[int, Json]:
    headers = {"Authorization": f"Bearer {running.keys[tenant]}"}
    async with ClientSession() as client, client.get(running.url + path, headers=headers) as reply:
        return reply.status, json.loads(await reply.read())


async def chatted(running: Running, number: int, tenant: str = "acme") -> str:
    sent = await send(running.url, ask.chat(number, model="chat"), key=running.keys[tenant])
    assert sent.status == 200
    return sent.request_id


async def test_a_receipt_is_the_ledgers_row_with_its_price_recent_or_old(running: Running) -> None:
    request_id = await chatted(running, 1)
    status, recent = await got(running, f"/v1/usage/{request_id}")
    running.app.state.statements.recent._receipts.clear()
    again, old = await got(running, f"/v1/usage/{request_id}")
    [row] = rows(running.ledger)
    written = row.units["llm.output_tokens"]

    assert (status, again) == (200, 200)
    assert recent == old
    assert (recent["id"], recent["units"]) == (row.id, dict(row.units))
    assert (recent["ending"], recent["exact"], recent["model"]) == ("ok", True, "chat")
    assert recent["attempts"] == [
        {"call": 0, "model": "chat", "region": "eu", "state": "ok", "status": 200}
    ]
    assert recent["cost"]["micro"] == written * 10 + row.units["llm.input_tokens"]
    assert recent["cost"]["pricing"] == "priced"
    assert {line["unit"]: line["micro"] for line in recent["cost"]["lines"]} == {
        "llm.input_tokens": row.units["llm.input_tokens"],
        "llm.output_tokens": written * 10,
    }


async def test_a_request_that_was_refused_costs_nothing_and_that_is_exact(running: Running) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "temperature": 9}
    headers = {"Authorization": f"Bearer {running.key}"}
    url = f"{running.url}/v1/chat/completions"
    async with ClientSession() as client, client.post(url, json=body, headers=headers) as reply:
        assert reply.status == 400
        request_id = reply.headers["x-request-id"]
    _, receipt = await got(running, f"/v1/usage/{request_id}")
    _, sums = await got(running, "/v1/usage")

    assert (receipt["ending"], receipt["exact"]) == ("refused", True)
    assert [line["exact"] for line in sums["data"]] == [True]


async def test_what_was_refused_while_another_of_its_calls_ran_is_a_floor(
    running: Running, engine: ScriptedEngine
) -> None:
    refused = Script(refusal=Refusal(status=422), headers_after_ms=200)
    engine.script_for = lambda record: (
        refused if record.call == 0 else Script(headers_after_ms=60_000)
    )
    sent = await send(running.url, ask.speech(1, model="voice", sentences=12), key=running.key)
    await running.app.close()
    [row] = rows(running.ledger)

    assert sent.status == 400
    assert {each["state"] for each in row.attempts} == {"cancelled", "refused"}
    assert (row.ending, row.exact) == ("refused", False)
    assert not row.units.get("tts.characters")


async def test_nobody_gets_anothers_receipt_or_sums(running: Running) -> None:
    mine, other = await chatted(running, 1), await chatted(running, 2, "beta")
    unknown = f"req_{0:032x}"
    statuses = []
    for tenant, name in (("acme", other), ("beta", mine), ("acme", unknown), ("acme", "x")):
        status, body = await got(running, f"/v1/usage/{name}", tenant)
        statuses.append((status, body["error"]["code"]))
    _, sums = await got(running, "/v1/usage?by=model,key", "beta")

    assert statuses == [(404, "receipt_not_found")] * 4
    assert [line["requests"] for line in sums["data"]] == [1]


async def test_sums_are_what_the_ledger_comes_to_and_are_paged(running: Running) -> None:
    for number in range(1, 4):
        await chatted(running, number)
    await send(running.url, ask.speech(4, model="voice"), key=running.key)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    path = "/v1/usage?by=day,modality,model,region&limit=1"
    pages = []
    while path:
        status, page = await got(running, path)
        assert status == 200
        pages.append(page)
        path = page["next"]
    lines = [line for page in pages for line in page["data"]]
    own = [row for row in rows(running.ledger) if row.tenant == "acme"]
    tariff: Tariff = running.app.gateway.budgets.tariff
    cost = money_by(own, ("modality",), tariff)

    assert [(line["day"], line["model"], line["region"]) for line in lines] == [
        (day, "chat", "eu"),
        (day, "voice", "eu"),
    ]
    assert [line["requests"] for line in lines] == [3, 1]
    assert [line["cost"] for line in lines] == [
        decimal(cost["llm",].micro),
        decimal(cost["tts",].micro),
    ]
    assert [line["unpriced_requests"] for line in lines] == [0, 1]
    units = units_by(own, ("modality",))
    assert lines[0]["units"] == {k[1]: u.amount for k, u in units.items() if k[0] == "llm"}
    assert "tts.speech_seconds" in lines[1]["shown"]
    assert {page["to"] for page in pages} == {pages[0]["to"]}
    assert [page["has_more"] for page in pages] == [True, False]


async def test_a_time_without_requests_has_no_lines(running: Running) -> None:
    await chatted(running, 1)
    status, page = await got(running, "/v1/usage?from=2020-01-01&to=2020-02-01T06:00:00Z")

    assert status == 200
    assert (page["data"], page["from"], page["currency"]) == ([], "2020-01-01T00:00:00Z", "EUR")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=soon", "from"),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2020-01-01&to=2021-01-01", "from"),
        ("from=99999999999999999999", "from"),
        ("by=tenant", "by"),
        ("by=modle", "by"),
        ("limit=0", "limit"),
        ("limit=1e3", "limit"),
        ("after=nonsense", "after"),
        ("after=WyJhIl0%3D&by=model,day", "after"),
        ("form=2020-01-01", "form"),
    ],
)
async def test_a_question_that_cannot_be_names_what_is_wrong(
    running: Running, query: str, param: str
) -> None:
    status, body = await got(running, f"/v1/usage?{query}")

    assert (status, body["error"]["param"]) == (400, param)


async def test_a_page_of_usage_is_read_only_and_in_the_description(running: Running) -> None:
    async with ClientSession() as client:
        async with client.post(f"{running.url}/v1/usage", headers=running.headers) as reply:
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
        async with client.get(f"{running.url}/openapi.json", headers=running.headers) as reply:
            described = await reply.json()

    assert {"/v1/usage", "/v1/usage/{id}"} <= described["paths"].keys()


async def test_a_correction_is_posted_while_the_gateway_runs(running: Running) -> None:
    request_id = await chatted(running, 1)
    correction = '[price.second]\ncorrects = "first"\ncurrency = "EUR"\n'
    text = running.config.read_text()
    running.config.write_text(f'{text}{correction}units = {{ "llm.output_tokens" = "15/1M" }}\n')
    await running.app.reload()
    words = ["rerate", "--config", str(running.config), "--post", "--directory"]
    state = str(running.ledger.parent)
    posted = [await asyncio.to_thread(CliRunner().invoke, main, [*words, state]) for _ in "12"]
    another = await chatted(running, 2)
    _, receipt = await got(running, f"/v1/usage/{request_id}")
    _, later = await got(running, f"/v1/usage/{another}")
    _, sums = await got(running, "/v1/usage")
    written = receipt["units"]["llm.output_tokens"]

    assert [each.output.partition(" ")[0] for each in posted] == ["1", "0"]
    assert receipt["correction"]["micro"] - receipt["cost"]["micro"] == 5 * written
    assert sums["data"][0]["adjusted_micro"] == 5 * written
    assert sums["data"][0]["cost_micro"] == receipt["cost"]["micro"] + later["cost"]["micro"]
