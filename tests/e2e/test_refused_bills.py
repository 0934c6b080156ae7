"""What refused and failed requests are billed: themselves, once the model was found.

The cases are the rows of a table in docs/operators/prices.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gateways import start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Refusal, Script
from oracle.requests import ClientRequest
from servers import free_port

from modgate.ledger.reader import rows

BOOK = """
[price.book]
effective = 2020-01-01
currency = "EUR"
units = { "*.requests" = "0.01/1", "llm.output_tokens" = "free", "llm.input_tokens" = "free" }
"""
CHAT = ask.chat(1, model="chat", max_tokens=5)
ONCE = CHAT.with_headers(Idempotency_Key="k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The last of `asked` is the one that is looked at: it gets `status`."""

    name: str
    status: int
    asked: tuple[ClientRequest, ...] = (CHAT,)
    limits: str = ""
    script: Script = OK
    key: str = ""


def limit(unit: str, rate: str) -> str:
    return f'limits = {{ units = {{ "{unit}" = "{rate}" }} }}'


BEFORE = [
    Case(name="a key that is none", status=401, key="mg_none"),
    Case(
        name="requests are spent",
        status=429,
        asked=(CHAT, CHAT),
        limits='limits = { requests = "1/day" }',
    ),
    Case(
        name="a limit is spent before the body is read",
        status=429,
        asked=(CHAT, CHAT),
        limits=limit("llm.output_tokens", "1/day"),
    ),
    Case(name="no JSON", status=400, asked=(replace(CHAT, body=b"{"),)),
    Case(name="no such model", status=404, asked=(ask.chat(1, model="none"),)),
    Case(name="a model of others", status=404, limits="models = []"),
    Case(name="only tried on", status=200, asked=(CHAT.with_headers(X_Modgate_Dry_Run="true"),)),
    Case(name="a key that was used", status=409, asked=(ONCE, ONCE)),
]
AFTER = [
    Case(name="a wrong field", status=400, asked=(ask.chat(1, model="chat", max_tokens=-1),)),
    Case(name="more than a limit has", status=413, limits=limit("llm.input_tokens", "1/day")),
    Case(name="refused by the engine", status=400, script=Script(refusal=Refusal(status=400))),
    Case(name="failed at the engine", status=502, script=Script(refusal=Refusal(status=500))),
]


@pytest.mark.parametrize(
    ("case", "billed"),
    [*((each, 0) for each in BEFORE), *((each, 1) for each in AFTER)],
    ids=lambda value: value.name if isinstance(value, Case) else str(value),
)
async def test_what_was_refused_is_billed_itself_once_its_model_was_found(
    tmp_path: Path, engine: ScriptedEngine, case: Case, billed: int
) -> None:
    engine.script_for = lambda record: case.script
    async with await start(
        tmp_path,
        [{"url": engine.url}],
        tenants={"acme": case.limits},
        plugins=("llm",),
        models={"chat": "llm"},
        more=BOOK,
    ) as running:
        *before, last = [
            await send(running.url, each, key=case.key or running.key) for each in case.asked
        ]
        [*found] = rows(running.ledger)
    mine = [row for row in found if row.id not in {each.request_id for each in before}]

    assert last.status == case.status
    assert [row.units["llm.requests"] for row in mine] == [1] * billed


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_what_an_engine_refused_has_an_exact_bill(
    tmp_path: Path, engine: ScriptedEngine, status: int
) -> None:
    engine.script_for = lambda record: Script(refusal=Refusal(status=status))
    async with await start(
        tmp_path, [{"url": engine.url}], plugins=("llm",), models={"chat": "llm"}
    ) as running:
        await send(running.url, CHAT, key=running.key)
        [row] = rows(running.ledger)

    assert (row.ending, row.exact) == ("refused", True)
    assert [each["state"] for each in row.attempts] == ["refused"]


async def test_an_engine_that_nobody_reached_makes_no_refusal_of_another_inexact(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(refusal=Refusal(status=400))
    backends = [
        {"url": f"http://127.0.0.1:{free_port()}", "region": "eu"},
        {"url": engine.url, "region": "us"},
    ]
    async with await start(
        tmp_path,
        backends,
        plugins=("llm",),
        models={"chat": "llm"},
        more='[state]\nregion = "eu"\n',
    ) as running:
        await send(running.url, CHAT, key=running.key)
        [row] = rows(running.ledger)

    assert [each["state"] for each in row.attempts] == ["failed", "refused"]
    assert [each.get("sent", False) for each in row.attempts] == [False, True]
    assert row.exact is True
