"""A budget is a limit like any other: it holds, and it is charged what the ledger comes to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine, always
from oracle.faults import Script
from rigs.explaining import TARGET, worlds
from servers import redis
from waiting import until

from modgate import reply_watch
from modgate.api.price import BUDGET
from modgate.ledger.reader import rows
from modgate.money.invoice import Tariff, money_by
from modgate.prices.books import Books

PRICES = """
[price.first]
effective = 2020-01-01
currency = "EUR"
units = { "llm.input_tokens" = "1/1k", "llm.output_tokens" = "10/1k", "llm.requests" = "free" }
"""


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The lines of a limit store: none, and a real one."""
    if request.param == "memory":
        yield ""
        return
    with redis(tmp_path) as server:
        yield f'[limits.store]\nurl = "{server.url}"\ndeadline = "5s"\n'


def spent(running: Running) -> int:
    """Micro-units, as the ledger's rows come to."""
    gateway = running.app.gateway
    tariff = Tariff(Books(tuple(gateway.budgets.tariff.books)), gateway.units)
    return sum(line.micro for line in money_by(rows(running.ledger), ("tenant",), tariff).values())


def charged(running: Running) -> int:
    """Micro-units, as the limits of this process have them."""
    levels = running.app.state.limits.levels
    found: int = sum(level.value for key, level in levels._levels.items() if BUDGET in key)
    return found


async def chat(running: Running, number: int, **more: int) -> ClientRecord:
    return await send(running.url, ask.chat(number, model="chat", **more), key=running.keys["acme"])


async def test_a_budget_holds_and_what_is_not_written_is_given_back(
    tmp_path: Path, engine: ScriptedEngine, store: str
) -> None:
    tenants = {"acme": 'limits = { cost = "1 EUR/month" }', "beta": ""}
    async with await start(
        tmp_path, [{"url": engine.url}], tenants=tenants, more=PRICES + store, plugins=("llm",)
    ) as running:
        clients = [await chat(running, at, max_tokens=20) for at in range(1, 30)]
        other = await send(running.url, ask.chat(99, model="chat"), key=running.keys["beta"])
        came_to, level = spent(running), charged(running) if not store else None
    statuses = [client.status for client in clients]
    refused = clients[statuses.index(429)]

    assert statuses == sorted(statuses)
    assert statuses.count(200) > 2
    assert json.loads(refused.body)["error"]["code"] == "insufficient_quota"
    assert "too little of the quota of 1 EUR per month is left" in refused.body.decode()
    assert clients[0].headers["x-ratelimit-limit-cost"] == "1"
    assert other.status == 200
    assert "x-ratelimit-limit-cost" not in other.headers
    if level is not None:
        own = came_to - spent_by(running, "beta")
        assert level == own
        assert own <= 1_000_000 + 20 * 10_000


def spent_by(running: Running, tenant: str) -> int:
    tariff = running.app.gateway.budgets.tariff
    found = money_by(rows(running.ledger), ("tenant",), tariff)
    return found[tenant,].micro if (tenant,) in found else 0


async def test_a_stream_that_runs_has_told_its_budget_what_it_costs_so_far(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So much is charged where its gateway is killed now: not nothing, and not the reserve."""
    monkeypatch.setattr(reply_watch, "FIRST_TOUCH_S", 0.1)
    tenants = {"acme": 'limits = { cost = "1 EUR/month" }'}
    told: list[Sequence[int]] = []
    async with (
        always(Script(gated=True, tokens=9)) as engine,
        await start(
            tmp_path, [{"url": engine.url}], tenants=tenants, more=PRICES + store, plugins=("llm",)
        ) as running,
    ):
        kind = type(running.app.state.limits.levels)
        kept = kind.touch

        def touch(self: object, rid: object, used: Sequence[int]) -> None:
            told.append(used)
            kept(self, rid, used)

        monkeypatch.setattr(kind, "touch", touch)
        request = ask.chat(1, model="chat", stream=True, max_tokens=40)
        client = asyncio.create_task(send(running.url, request, key=running.key, within_s=9))
        await until(lambda: bool(told), 5)
        engine.release(1, 20)
        await client

    assert told == [[10_000]]  # of one token, until the engine says what it read


async def test_a_budget_that_refused_is_among_the_limits_that_explain_shows(tmp_path: Path) -> None:
    priced = TARGET + PRICES
    tenants = {"acme": 'limits = { requests = "50/s", cost = "0.3 EUR/month" }'}
    async with worlds(tmp_path) as make:
        world = await make(Script(), tenants=tenants, more=priced, plugins=("llm",))
        clients = [await world.sent(ask.chat(at, model="chat", max_tokens=20)) for at in (1, 2, 3)]
        told = [await world.explained(client) for client in clients]
    [requests, budget], refused = told[0]["limits"]["met"], told[-1]["limits"]["met"][-1]

    assert [client.status for client in clients] == [200, 429, 429]
    assert requests["limit"] == "requests"
    assert (budget["limit"], budget["per"], budget["amount"]) == ("cost", "month", 0.3)
    assert (refused["limit"], refused["verdict"]) == ("cost", "denied")
    assert refused["wanted"] >= 0.2


async def test_what_has_no_price_is_refused_to_who_has_a_budget(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    tenants = {"acme": 'limits = { cost = "1 EUR/hour" }', "beta": ""}
    prices = PRICES.replace('"llm.output_tokens" = "10/1k", ', "")
    async with await start(
        tmp_path, [{"url": engine.url}], tenants=tenants, more=prices, plugins=("llm",)
    ) as running:
        mine = await chat(running, 1)
        other = await send(running.url, ask.chat(2, model="chat"), key=running.keys["beta"])
    error = json.loads(mine.body)["error"]

    assert (mine.status, error["code"]) == (403, "unpriced")
    assert "`chat` has no price for llm.output_tokens" in error["message"]
    assert engine.of(1) == []
    assert other.status == 200


async def test_a_budget_in_shadow_refuses_nothing_and_is_recorded(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    shadow = 'limits = { cost = { rate = "0.01 EUR/day", shadow = true } }'
    async with await start(
        tmp_path,
        [{"url": engine.url}],
        tenants={"acme": shadow},
        more=PRICES,
        plugins=("llm",),
    ) as running:
        clients = [await chat(running, at) for at in range(1, 4)]
        level, came_to = charged(running), spent(running)
        metrics = (await running.app.state.observer.rendered()).decode()

    assert [client.status for client in clients] == [200] * 3
    assert level == came_to > 10_000
    assert 'modgate_would_refuse_total{tenant="acme"}' in metrics
