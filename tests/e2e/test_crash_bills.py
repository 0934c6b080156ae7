"""What the ledger knows of a request that runs is enough to bill it as what it is."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import httpx
import msgspec
import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.crash import CRASH
from oracle.engine import ScriptedEngine, always
from oracle.faults import OK, Refusal, Script
from oracle.record import Record
from rigs.ledger import ledger
from rigs.policies import ASKS, house
from toys.rulings import HOUSE, TOKENS
from toys.several import SEVERAL
from waiting import until

from modgate import reply_watch
from modgate.api.json import JsonObject
from modgate.api.secret import Secret
from modgate.bill import Bill
from modgate.ledger.frames import Kind
from modgate.ledger.reader import rows
from modgate.ledger.records import Ended, Opened, crashed
from modgate.ledger.rows import end_row
from modgate.ledger.segments import frames_of, segments
from modgate.limits.account import OwnAccount
from modgate.money.invoice import used_of
from modgate.plugin import Receipt
from modgate.testing import FakeBackend, Scripted

REFUSES = Script(refusal=Refusal(status=500))
LIMITS = """
limits = { units = { "llm.output_tokens" = "90/day", "embedding.input_tokens" = "90/day" } }
"""
CLASS = '[slo.batch.llm]\ntotal = { base = "1h" }\n'


def open_frames(ledger: Path) -> list[Opened]:
    return [
        msgspec.msgpack.decode(frame.payload, type=Opened)
        for path in segments(ledger).values()
        for _, frame in frames_of(path, None)
        if frame.kind is Kind.OPEN
    ]


async def test_a_request_that_a_crash_cuts_is_priced_as_of_its_beginning_and_by_its_class(
    tmp_path: Path,
) -> None:
    ended: list[Receipt] = []
    async with always(Script(gated=True, gated_calls=True)) as engine:
        running = await start(
            tmp_path, [{"url": engine.url}], tenants={"acme": 'slo = "batch"'}, more=CLASS
        )
        running.app.state.observer.also(ended.append)
        try:
            request = ask.chat(1, model="chat", stream=True)
            client = asyncio.create_task(send(running.url, request, key=running.key, within_s=9))
            await engine.reached(1)
            [opened] = open_frames(running.ledger)
        finally:
            client.cancel()
            await running.app.close()
    cut = crashed(opened, None, opened.wall)

    assert (cut.wall, cut.slo, cut.model) == (ended[0].wall, "batch", ended[0].model)


async def left(running: Running, folder: Path) -> Ended:
    """What the next start makes of the request that runs now, were this gateway killed."""
    [row] = (await all_left(running, folder)).values()
    return row


async def all_left(running: Running, folder: Path) -> dict[str, Ended]:
    """The same of all that run, by the model that each is served as."""
    hidden = shutil.ignore_patterns("*lock*")
    await asyncio.to_thread(shutil.copytree, running.ledger, folder, ignore=hidden)
    key = Secret((running.ledger.parent / "ledger-key").read_text().strip())
    with ledger(folder, key=key):
        pass
    return {row.model: row for row in rows(folder, key)}


def levels_left(running: Running) -> dict[str, int]:
    """What the next start takes a day's limits to be full of, were this gateway killed; by unit."""
    state, now_ms = running.app.state, int(time.time() * 1000)
    assert state.level_file is not None
    written = state.level_file.levels.written(state.limits.ms(state.clock.now()))
    levels = OwnAccount.read(written, now_ms)._levels
    return {key.split(":")[2]: level.value for key, level in levels.items()}


@pytest.mark.parametrize(
    ("models", "region"),
    [(["chat", "small"], "eu"), (["chat", "small"], "us"), (["chat"], "eu")],
)
async def test_a_request_that_a_crash_cuts_says_what_served_it_and_where(
    tmp_path: Path, models: list[str], region: str
) -> None:
    """Another model in another region, or in the same; or another engine, in any of two."""
    hangs, hung = Script(headers_after_ms=60_000), asyncio.Event()
    async with ScriptedEngine() as first, ScriptedEngine() as other:
        calls: list[Record] = []

        def script_for(record: Record) -> Script:
            calls.append(record)
            if len(calls) == 1:
                return REFUSES
            hung.set()
            return hangs

        first.script_for = other.script_for = script_for
        backends = [
            {"url": first.url, "region": "us", "serves": {"chat": "chat"}},
            {"url": other.url, "region": region, "serves": {models[-1]: "served"}},
        ]
        running = await start(
            tmp_path,
            backends,
            plugins=["llm"],
            models=dict.fromkeys(models, "llm"),
            facts={"chat": 'fallback = ["small"]'} if "small" in models else {},
            tenants={"acme": "fallback = true"},
        )
        try:
            request = ask.chat(1, model="chat", max_tokens=7)
            client = asyncio.create_task(send(running.url, request, key=running.key, within_s=9))
            await asyncio.wait_for(hung.wait(), 5)
            row = await left(running, tmp_path / "copy")
        finally:
            client.cancel()
            await running.app.close()
    where = "us" if calls[-1] in first.records else region

    assert (row.ending, row.model, row.region) == ("gateway_crash", models[-1], where)
    assert row.units["llm.output_tokens"] == 7
    assert end_row(row, "w").region == used_of(row).region == where
    assert (row.fallback_for, row.fallback_on) == (
        ("chat", "failed") if "small" in models else ("", "")
    )


@pytest.mark.parametrize("asks", [1, 3])
@pytest.mark.parametrize("hangs", ["ask", "chat", "stand-in"])
async def test_what_was_asked_and_answered_is_billed_as_measured_wherever_a_crash_cuts(
    tmp_path: Path, engine: ScriptedEngine, hangs: str, asks: int
) -> None:
    """In the last ask, in the chat after it, or in another model's chat after one that failed."""
    hung, answered = asyncio.Event(), asks - (hangs == "ask")
    asked: list[Record] = []

    def script_for(record: Record) -> Script:
        served = record.asked.json.get("model")
        if record.modality == "embedding":
            asked.append(record)
            if len(asked) <= answered:
                return OK
        elif hangs == "stand-in" and served == "engine-chat":
            return REFUSES
        hung.set()
        return Script(headers_after_ms=60_000)

    engine.script_for = script_for
    running = await start(
        tmp_path,
        [{"url": engine.url}],
        plugins=["llm", "embedding", "house"],
        models={"chat": "llm", "small": "llm", "vectors": "embedding"},
        facts={"chat": 'fallback = ["small"]'},
        tenants={"acme": f"fallback = true{LIMITS}"},
        extra={"house": HOUSE},
        more=f'{ASKS}times = {asks}\nmodels = ["chat"]\n',
    )
    try:
        request = ask.chat(1, model="chat", max_tokens=7)
        client = asyncio.create_task(send(running.url, request, key=running.key, within_s=9))
        await asyncio.wait_for(hung.wait(), 5)
        row, levels = await left(running, tmp_path / "copy"), levels_left(running)
    finally:
        client.cancel()
        await running.app.close()
    told = sum(record.sent["embedding.input_tokens"] for record in asked[:answered])

    assert (row.ending, row.model) == (CRASH, "small" if hangs == "stand-in" else "chat")
    assert row.units.get("llm.output_tokens", 0) == (0 if hangs == "ask" else 7)
    reserved = TOKENS if hangs == "ask" else 0  # of what is not answered nobody knows more
    assert row.units["embedding.input_tokens"] == told + reserved
    assert levels["embedding.input_tokens"] == told + reserved


async def test_of_an_ask_that_failed_a_crash_bills_nothing(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """The second of two; the policy is let be, and the chat hangs."""
    engine.script_for = lambda record: (
        Script(headers_after_ms=60_000)
        if record.modality != "embedding"
        else REFUSES
        if len(engine.records) > 1
        else OK
    )
    policy = f'{ASKS}times = 2\non_failure = "open"\n'
    async with house(tmp_path, engine, policy, tenant=LIMITS) as running:
        request = ask.chat(1, model="chat", max_tokens=7)
        client = asyncio.create_task(send(running.url, request, key=running.key, within_s=9))
        await until(lambda: [each for each in engine.records if each.modality == "llm"])
        row = await left(running, tmp_path / "copy")
        levels = levels_left(running)
        client.cancel()
    told = engine.records[0].sent["embedding.input_tokens"]

    assert row.units["embedding.input_tokens"] == levels["embedding.input_tokens"] == told
    assert row.units["llm.output_tokens"] == levels["llm.output_tokens"] == 7


async def test_until_a_plan_used_something_its_reserve_stands_beside_what_was_asked(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    touches, touch = [], Bill.touch

    def touched(bill: Bill) -> None:
        touch(bill)
        touches.append(bill)

    monkeypatch.setattr(reply_watch, "FIRST_TOUCH_S", 0.01)
    monkeypatch.setattr(Bill, "touch", touched)
    held = Script(headers_after_ms=60_000)
    engine.script_for = lambda record: OK if record.modality == "embedding" else held
    async with house(tmp_path, engine, ASKS, tenant=LIMITS) as running:
        request = ask.chat(1, model="chat", max_tokens=7)
        client = asyncio.create_task(send(running.url, request, key=running.key, within_s=9))
        await until(lambda: len(engine.records) == 2 and touches)
        row = await left(running, tmp_path / "copy")
        levels = levels_left(running)
        client.cancel()
    told = engine.records[0].sent["embedding.input_tokens"]

    assert row.units["embedding.input_tokens"] == levels["embedding.input_tokens"] == told
    assert row.units["llm.output_tokens"] == levels["llm.output_tokens"] == 7


async def test_while_a_stand_in_waits_a_crash_bills_nothing_of_the_model_that_failed(
    tmp_path: Path,
) -> None:
    held = Script(headers_after_ms=60_000)
    async with always(REFUSES) as first, always(held) as other:
        backends: list[JsonObject] = [
            {"url": first.url, "serves": {"chat": "chat"}},
            {"url": other.url, "serves": {"small": "small"}, "slots": 1},
        ]
        running = await start(
            tmp_path,
            backends,
            plugins=["llm"],
            models={"chat": "llm", "small": "llm"},
            facts={"chat": 'fallback = ["small"]'},
            tenants={"acme": "fallback = true"},
        )
        clients = []
        try:
            for number, model in enumerate(("small", "chat"), 1):
                request = ask.chat(number, model=model, max_tokens=7)
                sent = send(running.url, request, key=running.key, within_s=9)
                clients.append(asyncio.create_task(sent))
                await other.reached(1)
            await until(lambda: running.app.state.fleet.queued)
            found = await all_left(running, tmp_path / "copy")
        finally:
            for client in clients:
                client.cancel()
            await running.app.close()
    row = found["chat"]

    assert first.records
    assert (row.ending, row.units) == (CRASH, {"llm.requests": 1})
    assert found["small"].units["llm.output_tokens"] == 7


async def test_until_something_is_used_a_crash_bills_also_what_was_reserved_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three calls, two at once, one is foreseen; the second is answered, and nothing is fed."""
    touches, touch = [], Bill.touch

    def touched(bill: Bill) -> None:
        touch(bill)
        touches.append(bill)

    monkeypatch.setattr(reply_watch, "FIRST_TOUCH_S", 0.01)
    monkeypatch.setattr(Bill, "touch", touched)
    slow, answer = Scripted(fault="silence"), Scripted(reply=b'{"word": "yes"}')
    async with FakeBackend() as engine:
        engine.answer("/words", slow, answer, slow)
        running = await start(
            tmp_path,
            [{"url": engine.url}],
            plugins=["words", "sounds"],
            models={"chat": "words"},
            extra=SEVERAL,
        )
        body = {"model": "chat", "calls": ["", "", ""], "width": 2, "lazy": True}
        try:
            async with httpx.AsyncClient(base_url=running.url, headers=running.headers) as session:
                client = asyncio.create_task(session.post("/v1/words", json=body))
                await until(lambda: len(engine.calls) == 3 and touches)
                row = await left(running, tmp_path / "copy")
                client.cancel()
        finally:
            await running.app.close()

    assert row.units["words.input_tokens"] == 30
