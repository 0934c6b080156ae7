"""Another model in place of the one that was asked for: agreed to, told, and billed as served.

Source: algorithms.md 1.4 (step 8), 5.3.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateways import MODELS, Running, receipts_of, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Fault, Refusal, Script
from oracle.requests import ClientRequest

from modgate.ledger.reader import rows
from modgate.ledger.records import Ended

FAULT = Script(refusal=Refusal(status=500))
CHAT = ask.chat(1, model="chat", max_tokens=80)
AGREED = "fallback = true"
# What two models must say to stand in for each other, where their modality wants it.
SAID = {
    "tts": 'voices = ["alloy", "amy"]',
    "ocr": 'page_schema = "lines"',
    "embedding": 'space = "bge-m3"\ndimensions = 8',
}
REQUESTS: dict[str, ClientRequest] = {
    "llm": ask.chat(1, model="first"),
    "vlm": ask.vision(3, model="first"),
    "asr": ask.transcription(4, model="first"),
    "tts": ask.speech(5, model="first"),
    "ocr": ask.ocr(6, model="first"),
    "embedding": ask.embeddings(7, model="first"),
    "rerank": ask.rerank(8, model="first"),
}


class World:
    """A gateway before one engine a model: `chat`, and those that stand in for it."""

    def __init__(self, running: Running, engines: Mapping[str, ScriptedEngine]) -> None:
        self.running = running
        self.engines = engines
        self.receipts = receipts_of(running)

    async def ask(self, request: ClientRequest = CHAT) -> ClientRecord:
        return await send(self.running.url, request, key=self.running.key, within_s=15)

    def calls(self, model: str) -> int:
        return sum(record.method == "POST" for record in self.engines[model].records)

    @property
    def billed(self) -> list[Ended]:
        return list(rows(self.running.ledger))


async def world(
    folder: Path,
    stack: AsyncExitStack,
    scripts: Mapping[str, Script | Callable[[Any], Script]],
    *,
    fallback: str = '["small"]',
    tenant: str = AGREED,
    modality: str = "llm",
    facts: str = "",
    small: str = "",
    first: str = "chat",
    regions: Mapping[str, str] | None = None,
    more: str = "",
) -> World:
    engines, backends = {}, []
    for name, script in scripts.items():
        made = script if callable(script) else (lambda record, script=script: script)
        engines[name] = await stack.enter_async_context(ScriptedEngine(made))
        serves = {name: f"engine-{name}"}
        backends.append({"url": engines[name].url, "serves": serves, "slots": 4})
        backends[-1] |= {"region": (regions or {}).get(name, "")}
    said = {name: f"{facts}\n{small if name == 'small' else ''}" for name in scripts}
    said[first] += f"\nfallback = {fallback}"
    running = await start(
        folder,
        backends,
        plugins=[modality],
        models=dict.fromkeys(scripts, modality),
        facts=said,
        tenants={"acme": tenant},
        more=more,
    )
    stack.push_async_callback(running.app.close)
    return World(running, engines)


@pytest.fixture
async def stack() -> Any:
    async with AsyncExitStack() as made:
        yield made


def degraded(client: ClientRecord) -> str | None:
    return client.headers.get("x-modgate-degraded")


# --- what it is


@pytest.mark.parametrize("modality", MODELS.values())
async def test_a_model_whose_engines_fail_is_stood_in_for_in_every_modality(
    tmp_path: Path, stack: AsyncExitStack, modality: str
) -> None:
    made = await world(
        tmp_path,
        stack,
        {"first": FAULT, "small": Script()},
        modality=modality,
        facts=SAID.get(modality, ""),
        first="first",
    )
    client = await made.ask(REQUESTS[modality])
    [row] = made.billed
    [receipt] = made.receipts

    assert (client.status, client.ended, degraded(client)) == (200, "ok", "small")
    assert (row.model, row.fallback_for, row.fallback_on) == ("small", "first", "failed")
    assert (row.ending, row.units[f"{modality}.requests"]) == ("ok", 1)
    first = receipt.attempts[0]
    assert (first.model, first.state) == ("first", "failed")
    assert receipt.attempts[-1].model == "small"
    assert receipt.notes["fallback_for"] == "first"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_says_which_model_it_is_of(
    tmp_path: Path, stack: AsyncExitStack, stream: bool
) -> None:
    made = await world(tmp_path, stack, {"chat": FAULT, "small": Script()})
    client = await made.ask(ask.chat(1, model="chat", stream=stream))

    first = client.body if not stream else client.body.split(b"\n")[0].removeprefix(b"data: ")
    async with (
        aiohttp.ClientSession(headers=made.running.headers) as session,
        session.get(f"{made.running.url}/v1/usage/{client.request_id}") as reply,
    ):
        receipt = await reply.json()

    assert json.loads(first)["model"] == "small"
    said = [receipt[name] for name in ("model", "fallback_for", "fallback_on")]
    assert said == ["small", "chat", "failed"]
    assert client.headers["x-modgate-degraded"] == "small"
    assert client.headers["x-modgate-attempts"] == "2"


async def test_who_did_not_agree_is_told_the_failure(tmp_path: Path, stack: AsyncExitStack) -> None:
    made = await world(tmp_path, stack, {"chat": FAULT, "small": Script()}, tenant="")
    client = await made.ask()

    assert (client.status, degraded(client)) == (502, None)
    assert made.calls("small") == 0


async def test_a_chain_is_gone_along_in_its_order_and_the_first_failure_is_told(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    scripts = {"chat": FAULT, "small": FAULT, "tiny": Script()}
    made = await world(tmp_path, stack, scripts, fallback='["small", "tiny"]')
    served = await made.ask()
    made.engines["tiny"].script_for = lambda record: Script(refusal=Refusal(status=400))
    failed = await made.ask()

    assert (served.status, degraded(served)) == (200, "tiny")
    assert (failed.status, degraded(failed)) == (502, None)
    assert (made.billed[-1].model, made.billed[-1].fallback_for) == ("chat", "")
    assert made.billed[-1].units.get("llm.output_tokens", 0) == 0


async def test_nothing_is_swapped_once_a_client_has_the_first_of_it(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    cut = Script(fault=Fault(kind="reset", after=2))
    made = await world(tmp_path, stack, {"chat": cut, "small": Script()})
    client = await made.ask(ask.chat(1, model="chat", stream=True))

    assert client.ended == "error"
    assert made.calls("small") == 0
    assert made.billed[0].model == "chat"


async def test_a_fault_of_the_request_swaps_nothing(tmp_path: Path, stack: AsyncExitStack) -> None:
    refuses = Script(refusal=Refusal(status=400))
    made = await world(tmp_path, stack, {"chat": refuses, "small": Script()})

    assert (await made.ask()).status == 400
    assert made.calls("small") == 0


async def test_a_model_stands_in_only_for_what_it_is_there_for(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    link = '[{ model = "small", on = ["unavailable"] }]'
    made = await world(tmp_path, stack, {"chat": FAULT, "small": Script()}, fallback=link)

    assert (await made.ask()).status == 502
    assert made.calls("small") == 0


async def test_what_the_other_model_refuses_is_not_what_the_client_is_told(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    scripts = {"voice": FAULT, "small": Script()}
    made = await world(
        tmp_path,
        stack,
        scripts,
        modality="tts",
        facts=SAID["tts"],
        first="voice",
        small="max_characters = 5",
    )
    client = await made.ask(ask.speech(1, model="voice"))

    assert (client.status, degraded(client)) == (502, None)
    assert made.calls("small") == 0


async def test_what_the_other_model_refuses_the_next_one_may_do(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    made = await world(
        tmp_path,
        stack,
        {"voice": FAULT, "small": Script(), "tiny": Script()},
        fallback='["small", "tiny"]',
        modality="tts",
        facts=SAID["tts"],
        first="voice",
        small="max_characters = 5",
    )
    client = await made.ask(ask.speech(1, model="voice"))

    assert (client.status, degraded(client)) == (200, "tiny")
    assert made.billed[0].fallback_on == "failed"


# --- as if it had asked for that model


async def test_a_key_gets_no_model_that_it_may_not_use(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    tenant = f'{AGREED}\nmodels = ["chat"]'
    made = await world(tmp_path, stack, {"chat": FAULT, "small": Script()}, tenant=tenant)

    assert (await made.ask()).status == 502
    assert made.calls("small") == 0


async def test_data_stays_in_its_regions_and_a_model_that_is_there_answers(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    scripts = {"chat": Script(), "small": Script(), "tiny": Script()}
    made = await world(
        tmp_path,
        stack,
        scripts,
        fallback='["small", "tiny"]',
        tenant=f'{AGREED}\nregions = ["eu"]',
        regions={"chat": "us", "small": "us", "tiny": "eu"},
    )
    client = await made.ask()

    assert (client.status, degraded(client)) == (200, "tiny")
    assert [made.calls(name) for name in scripts] == [0, 0, 1]
    assert made.billed[0].fallback_on == "unavailable"


async def test_limits_of_both_models_hold_and_what_was_reserved_is_given_back(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    limits = (
        f"{AGREED}\n[tenant.acme.limits.models.chat]\n"
        'units = { "llm.output_tokens" = "100/hour" }\n'
        '[tenant.acme.limits.models.small]\nrequests = "3/hour"'
    )
    made = await world(tmp_path, stack, {"chat": FAULT, "small": Script()}, tenant=limits)
    statuses = [(await made.ask()).status for _ in range(4)]

    assert statuses == [200, 200, 200, 502]  # 80 of 100 tokens each, of a model that wrote none
    assert made.calls("small") == 3


async def test_engines_that_do_not_answer_are_not_asked_by_each_request(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    made = await world(tmp_path, stack, {"chat": Script(), "small": Script()})
    await made.engines["chat"].close()
    clients = [await made.ask() for _ in range(12)]
    reasons = [row.fallback_on for row in made.billed]

    assert {client.status for client in clients} == {200}
    assert reasons[0] == "failed"
    assert set(reasons[6:]) == {"unavailable"}
    assert len(made.receipts[-1].attempts) == 1


# --- where nobody would be in time

LATE = Script(headers_after_ms=250)
TARGET = '[slo.gold.llm]\nfirst_byte = { base = "100ms" }\ntotal = { base = "100ms" }\n'
GOLD = f'{AGREED}\nslo = "gold"'
LEARNING = 16


async def told(made: World, many: int) -> list[tuple[int | None, str | None]]:
    """Status of each reply, and how it was served."""
    found = []
    for _ in range(many):
        client = await made.ask()
        found.append((client.status, degraded(client) or client.headers.get("x-modgate-slo")))
    return found


async def test_another_model_keeps_the_promise(tmp_path: Path, stack: AsyncExitStack) -> None:
    unmet = '[select.unmet]\ngold = ["fallback", "queue", "refuse"]\n'
    scripts = {"chat": LATE, "small": Script()}
    made = await world(tmp_path, stack, scripts, tenant=GOLD, more=TARGET + unmet)
    found = await told(made, LEARNING)

    assert found[0] == (200, None)  # nobody knew yet
    assert found[-4:].count((200, "small")) >= 3  # now and then an idle engine is tried
    assert made.billed[-1].fallback_on == "unmet"


async def test_where_no_other_model_keeps_it_the_next_step_is_taken(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    unmet = '[select.unmet]\ngold = ["fallback", "best_effort"]\n'
    scripts = {"chat": LATE, "small": LATE}
    made = await world(tmp_path, stack, scripts, tenant=GOLD, more=TARGET + unmet)
    found = await told(made, 2 * LEARNING)

    assert found[-1] == (200, "best-effort")
    assert (made.billed[-1].model, made.billed[-1].promise) == ("chat", "best-effort")
    assert (made.billed[0].promise, made.billed[0].slo) == ("", "gold")


@pytest.mark.parametrize(("late_ms", "how"), [(140, "best-effort"), (400, "small")])
async def test_a_class_may_be_served_a_little_late_before_it_is_served_by_another_model(
    tmp_path: Path, stack: AsyncExitStack, late_ms: float, how: str
) -> None:
    unmet = '[select.unmet]\ngold = ["best_effort", "fallback", "refuse"]\n'
    scripts = {"chat": Script(headers_after_ms=late_ms), "small": Script()}
    made = await world(tmp_path, stack, scripts, tenant=GOLD, more=TARGET + unmet)
    found = await told(made, LEARNING)

    assert found[-4:].count((200, how)) >= 3


async def test_an_engine_that_is_in_time_again_gets_its_calls_back(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmet = '[select.unmet]\ngold = ["fallback", "queue"]\n'
    scripts = {"chat": LATE, "small": Script()}
    made = await world(tmp_path, stack, scripts, tenant=GOLD, more=TARGET + unmet)
    away = await told(made, LEARNING)
    made.engines["chat"].script_for = lambda record: Script()
    monkeypatch.setattr("modgate.fleet.fleet.EXPLORE_S", 0.1)
    back = away[-1]
    async with asyncio.timeout(20):
        while back != (200, None):
            await asyncio.sleep(0.02)
            [back] = await told(made, 1)
        again = await told(made, 4)

    assert (200, "small") in away[-6:]
    assert again == [(200, None)] * 4
