"""`modgate explain`: what led to a reply, and why there is nothing to tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import aiohttp
import pytest
from gateways import start
from oracle.faults import Script
from rigs.certificates import certificate
from rigs.explaining import TARGET, UNKNOWN, Make, World, invoked, worlds

from modgate.ledger.reader import rows


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Make]:
    async with worlds(tmp_path) as make:
        yield make


async def test_the_command_shows_a_waterfall_and_the_same_as_json(world: Make) -> None:
    made = await world(Script(headers_after_ms=20), Script(headers_after_ms=20))
    client = await made.sent()
    code, text = await made.command(str(client.request_id))
    json_code, as_json = await made.command(str(client.request_id), "--json")

    assert (code, json_code) == (0, 0)
    assert json.loads(as_json)["id"] == client.request_id
    assert text.splitlines()[0].startswith(f"{client.request_id}  /v1/chat/completions  200 ok in")
    for part in ("waterfall", "call 0 at b", "> b", "promise: kept", "llm.output_tokens"):
        assert part in text
    bars = [line.split("|")[-2] for line in text.splitlines() if line.endswith("|")]
    assert {len(bar) for bar in bars} == {40}
    assert max(map(len, text.splitlines())) <= 140
    assert text.isascii()


PRICES = """
[price.now]
effective = "2020-01-01"
currency = "EUR"
[price.now.units]
"llm.input_tokens" = "0.5/1k"
"""


async def test_what_a_request_did_cost_is_told_as_its_tenants_receipt_has_it(world: Make) -> None:
    made = await world(Script(), more=f"{TARGET}{PRICES}")
    client = await made.sent()
    told = await made.explained(client)
    _, text = await made.command(str(client.request_id))
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{made.running.url}/v1/usage/{client.request_id}",
            headers={"Authorization": f"Bearer {made.running.key}"},
        ) as reply,
    ):
        receipt = await reply.json()

    cost = told["cost"]
    assert cost == receipt["cost"]
    assert cost["micro"] == 500 * cost["lines"][0]["count"] > 0
    assert cost["unpriced"]
    amount = f"{cost['micro'] / 1e6:g}"
    assert f"cost {amount} EUR, by now" in text
    assert any(
        line.split() == ["llm.input_tokens", str(cost["lines"][0]["count"]), "0.5/1000", amount]
        for line in text.splitlines()
    )
    assert f"without a price: {', '.join(cost['unpriced'])}" in text


async def test_where_no_gateway_answers_the_ledger_of_its_configuration_is_read(
    world: Make, tmp_path: Path
) -> None:
    made = await world(Script(), more=f"{TARGET}{PRICES}")
    client = await made.sent()
    path = made.running.config
    port = made.running.app.admin_address[1]
    await made.running.app.close()
    text = path.read_text().replace(
        '[admin]\naddress = "127.0.0.1:0"',
        f'[admin]\naddress = "127.0.0.1:{port}"\n[state]\ndirectory = "{tmp_path}/state"',
    )
    path.write_text(text)
    at = f"http://127.0.0.1:{port}"
    away = await asyncio.to_thread(invoked, str(client.request_id), "--url", at)
    found = await asyncio.to_thread(invoked, str(client.request_id), "--config", str(path))
    unknown = await asyncio.to_thread(invoked, UNKNOWN, "--config", str(path))

    assert away[0] == 1
    assert "no gateway answers at" in away[1]
    assert found[0] == 0
    assert "this is of its ledger" in found[1]
    assert "call 0 at b0" in found[1]
    assert "EUR, by now" in found[1]
    assert unknown[0] == 1


async def test_the_command_says_what_is_wrong_with_where_it_was_sent(world: Make) -> None:
    made = await world(Script())
    client = await made.sent()
    public = await asyncio.to_thread(
        invoked, str(client.request_id), "--url", made.running.url, "--key", made.running.key
    )
    path = made.running.config
    (path.parent / "root").write_text("a root key")
    key = f'[admin]\nkey = {{ file = "{path.parent}/root" }}'
    path.write_text(path.read_text().replace("[admin]", key))
    await made.running.app.reload()
    nokey = await made.command(str(client.request_id))
    good = await made.command(str(client.request_id), "--key", "a root key")

    assert public[0] == 1
    assert "is the public listener" in public[1]
    assert nokey[0] == 1
    assert "give an operator's key" in nokey[1]
    assert good[0] == 0


@pytest.mark.parametrize("words", [("x", "--url", "nonsense"), ("x", "--tenant", "acme")])
def test_a_command_line_that_cannot_be_is_refused(words: Sequence[str]) -> None:
    assert invoked(*words)[0] == 2


@pytest.mark.parametrize("why", ["connection refused", "name", "certificate"])
async def test_a_call_that_found_no_connection_tells_the_operator_why(
    tmp_path: Path, why: str
) -> None:
    certificate(tmp_path, "engine")
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "engine.pem", tmp_path / "engine.key")
    engine = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    url = {
        "connection refused": "http://127.0.0.1:1",
        "name": "http://engine.invalid",
        "certificate": f"https://localhost:{engine.sockets[0].getsockname()[1]}",
    }[why]
    async with (
        engine,
        await start(tmp_path, [{"url": url}], plugins=("llm",), models={"chat": "llm"}) as running,
    ):
        made = World(running, [])
        client = await made.sent()
        [told, *_] = (await made.explained(client))["attempts"]
        _, text = await made.command(str(client.request_id))
        [row] = rows(running.ledger)

    assert (client.status, told["error"], told["sent"]) == (502, "upstream_error", False)
    assert why in told["unreached"]
    assert f"  not reached: {told['unreached']}\n" in text
    assert why.encode() not in client.body
    assert "unreached" not in row.attempts[0]
