"""Every limit over HTTP: per tenant, key and model, a second to a month, and at once.

Time stands still unless the test moves it.  Source: architecture.md 7, 11; wire.md 1.5.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import aiohttp
import pytest
from gateways import MODELS, PEPPER, configuration
from oracle import requests as ask
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Script

from modgate.api.secret import Secret
from modgate.auth.keys import new_key
from modgate.clock import SystemClock
from modgate.server import app as server
from modgate.server.app import App

SCOPES = ("tenant", "key", "model")
PERIODS = {"s": 1, "min": 60, "hour": 3600, "day": 86_400, "month": 31 * 86_400}
UNITS = {"requests": 1, "llm.output_tokens": 5}  # what one request costs
TIMES = 3
CLEARS_S = 120
NOON = 1_800_014_400.0  # 2027-01-15, 12:00 UTC
SURFACES = {
    "/v1/chat/completions": "x-ratelimit-{}-{}",
    "/v1/messages": "anthropic-ratelimit-{1}-{0}",
}
CASES = list(product(SCOPES, PERIODS, UNITS))


class Standing(SystemClock):
    """A clock that the test moves."""

    moved = 0.0
    began = time.monotonic()

    @classmethod
    def now(cls) -> float:
        return cls.began + cls.moved

    @classmethod
    def wall(cls) -> float:
        return NOON + cls.moved


@dataclass
class Asked:
    """What a reply said."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""


@dataclass
class Table:
    """A gateway with a tenant for each case, and what is wrong with what it says."""

    url: str
    keys: dict[str, list[str]]
    session: aiohttp.ClientSession
    wrong: list[str] = field(default_factory=list)

    async def ask(self, key: str, path: str, model: str = "chat") -> Asked:
        text = ask.chat(1, model=model, max_tokens=5).body
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        async with self.session.post(f"{self.url}{path}", data=text, headers=headers) as reply:
            body = await reply.json()
        error = body.get("error") or {}
        code = error.get("code") or error.get("type") or ""
        return Asked(reply.status, {n.lower(): v for n, v in reply.headers.items()}, code)

    def expect(self, case: str, what: str, said: object, wanted: object) -> None:
        if said != wanted:
            self.wrong.append(f"{case}: {what}: {said} is not {wanted}")


def limits(scope: str, period: str, unit: str) -> str:
    """The section of a tenant that has one limit."""
    amount = f'"{TIMES * UNITS[unit]}/{period}"'
    rate = f"requests = {amount}" if unit == "requests" else f'units = {{ "{unit}" = {amount} }}'
    if scope == "tenant":
        return f"limits = {{ {rate} }}"
    if scope == "key":
        return f"limits = {{ each_key = {{ {rate} }} }}"
    return f"limits = {{ models = {{ chat = {{ {rate} }} }} }}"


def named(scope: str, period: str, unit: str) -> str:
    return f"{scope}-{period}-{unit.rpartition('.')[2].replace('_', '-')}"


@pytest.fixture(params=["memory", "shared"])
async def table(
    tmp_path: Path,
    engine: ScriptedEngine,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Table]:
    monkeypatch.setattr(server, "SystemClock", Standing)
    Standing.moved = 0.0
    tenants = {named(*case): limits(*case) for case in CASES} | {
        "held": "limits = { in_flight = 3 }"
    }
    more = f'[limits.store]\nurl = "owner://{tmp_path}/l/s.sock"\ndeadline = "5s"'
    path, first = configuration(
        tmp_path,
        [{"url": engine.url}],
        tenants=tenants,
        plugins=("llm",),
        models={"chat": MODELS["chat"], "other": MODELS["chat"]},
        more=more if request.param == "shared" else "",
    )
    keys = {name: [key] for name, key in first.items()}
    for name, made in keys.items():
        key, stored = new_key(Secret(PEPPER), name="second", env="test", random=os.urandom)
        made.append(key.reveal())
        with (tmp_path / f"{name}.keys").open("a") as file:
            file.write(stored.line() + "\n")
    app = App(path, directory=tmp_path / "state")
    await app.open()
    async with aiohttp.ClientSession() as session:
        host, port = app.public_address
        yield Table(f"http://{host}:{port}", keys, session)
    await app.close()


async def _case(table: Table, scope: str, period: str, unit: str) -> None:
    case, cost = named(scope, period, unit), UNITS[unit]
    key, second = table.keys[case]
    short = unit.rpartition(".")[2].replace("_", "-")
    paths = list(SURFACES)
    for turn in range(TIMES):
        path = paths[turn % 2]
        said = await table.ask(key, path)
        table.expect(case, f"request {turn}", said.status, 200)
        for what, value in (("limit", TIMES), ("remaining", TIMES - turn - 1)):
            name = SURFACES[path].format(what, short)
            table.expect(case, name, said.headers.get(name), str(value * cost))
    first_wait_s = PERIODS[period] / TIMES if period in ("s", "min", "hour") else CLEARS_S + 1
    for path in paths:
        said = await table.ask(key, path)
        clears = first_wait_s <= CLEARS_S
        kind = "rate_limit_error" if "messages" in path else "rate_limit_exceeded"
        kind = (
            kind if clears else "rate_limit_error" if "messages" in path else "insufficient_quota"
        )
        table.expect(case, "beyond", (said.status, said.code), (429, kind))
        table.expect(case, "retry-after", "retry-after" in said.headers, clears)
        again = said.headers.get("x-should-retry")
        table.expect(case, "x-should-retry", again == "false", not clears)
        name = SURFACES[path].format("remaining", short)
        table.expect(case, name, said.headers.get(name), "0")
    others = await table.ask(second, paths[0])
    table.expect(case, "the tenant's other key", others.status, 200 if scope == "key" else 429)
    model = await table.ask(key, paths[0], model="other")
    table.expect(case, "another model", model.status, 200 if scope == "model" else 429)


@pytest.mark.slow
async def test_each_limit_admits_what_it_says_and_is_said_as_the_surface_does(
    table: Table,
) -> None:
    for case in CASES:
        await _case(table, *case)
    for period, seconds in PERIODS.items():
        Standing.moved += seconds  # what comes before is over by then, too
        for scope, unit in product(SCOPES, UNITS):
            case = named(scope, period, unit)
            said = await table.ask(table.keys[case][0], "/v1/chat/completions")
            table.expect(case, "a period later", said.status, 200)

    assert table.wrong == [], "\n".join(table.wrong)


async def test_places_at_once_are_given_back(table: Table, engine: ScriptedEngine) -> None:
    engine.script_for = lambda record: Script(headers_after_ms=400)
    [key, _] = table.keys["held"]
    held = [asyncio.create_task(table.ask(key, "/v1/chat/completions")) for _ in range(3)]
    await engine.reached(1, calls=3)
    beyond = [await table.ask(key, path) for path in SURFACES]
    statuses = [(await task).status for task in held]
    engine.script_for = lambda record: OK
    after = await table.ask(key, "/v1/chat/completions")

    assert statuses == [200] * 3
    assert [each.status for each in beyond] == [429] * 2
    assert [each.headers["retry-after"] for each in beyond] == ["1"] * 2
    assert after.status == 200
