"""A client that leaves while engines work: they stop, or finish and are billed to the last unit."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from gateways import Running, receipts_of, start
from oracle import requests as ask
from oracle.client import ClientRecord, Leave, send
from oracle.engine import ScriptedEngine
from oracle.faults import Fault, Piece, Refusal, Script
from oracle.record import Record
from oracle.requests import ClientRequest
from rigs.each import BESIDES_CHAT
from waiting import until

from modgate.ledger.reader import rows
from modgate.ledger.records import Ended
from modgate.pipeline import Exchange

DRAIN = 'on_disconnect = "drain"'
SLOW = Script(headers_after_ms=60, between_ms=15, tokens=24)
STREAM = ask.chat(2, model="chat", stream=True)
REQUESTS: dict[str, ClientRequest] = {
    "llm": ask.chat(1, model="chat"),
    "llm stream": STREAM,
    **BESIDES_CHAT,
}


class World:
    """A gateway before one engine, and what it was told."""

    def __init__(self, running: Running, engine: ScriptedEngine) -> None:
        self.running = running
        self.engine = engine
        self.receipts = receipts_of(running)

    async def left(self, request: ClientRequest, leave: Leave | None = None) -> ClientRecord:
        """A client sends, and leaves: as told, or once its call is at the engine; the rest ends."""
        go, key = asyncio.Event(), self.running.key
        how = leave or Leave(at="sent")
        wait = go if leave is None else None
        sending = asyncio.create_task(send(self.running.url, request, key=key, leave=how, go=wait))
        if leave is None:
            await self.engine.reached(request.tag)
            go.set()
        client = await sending
        await until(lambda: bool(self.receipts))
        return client

    @property
    def row(self) -> Ended:
        [found] = rows(self.running.ledger)
        return found

    @property
    def wrote(self) -> dict[str, int]:
        """Native units that the engine was sent and wrote, over all its calls."""
        total: Counter[str] = Counter()
        for record in self.engine.records:
            total.update({**record.sent, **record.wrote})
        return dict(total)

    def idle(self) -> bool:
        """Nothing of the request is left: no slot, no spool file, no hold, no connection."""
        state = self.running.app.state
        return (
            state.live == 0
            and state.spool.used == 0
            and not state.limits.tenants
            and all(slots.taken == 0 for slots in state.fleet.slots.values())
        )


async def world(
    folder: Path,
    stack: AsyncExitStack,
    script: Script = SLOW,
    *,
    tenant: str = DRAIN,
    facts: Mapping[str, str] | None = None,
    more: str = "",
) -> World:
    engine = await stack.enter_async_context(ScriptedEngine(lambda record: script))
    running = await start(
        folder, [{"url": engine.url}], tenants={"acme": tenant}, facts=facts, more=more
    )
    stack.push_async_callback(running.app.close)
    return World(running, engine)


@pytest.fixture
async def stack() -> Any:
    async with AsyncExitStack() as made:
        yield made


@pytest.mark.parametrize("route", REQUESTS)
async def test_the_bill_is_what_the_engine_wrote(
    tmp_path: Path, stack: AsyncExitStack, route: str
) -> None:
    request = REQUESTS[route]
    made = await world(tmp_path, stack, Script(headers_after_ms=150, between_ms=15, tokens=24))
    # In the middle of a stream; of a whole reply as soon as its call is under way.
    leave = Leave(at="body", events=1) if request.streamed else None
    client = await made.left(request, leave)
    row, wrote = made.row, {**request.sent, **made.wrote}

    assert client.ended == "cut"
    assert all(record.answered for record in made.engine.records)
    assert (row.ending, row.on_disconnect, row.status) == ("client_gone", "drained", 499)
    assert made.receipts[0].notes["on_disconnect"] == "drained"
    assert row.exact
    counted = {name: row.units.get(name, 0) for name in wrote if name in row.units}
    assert counted
    assert counted == {name: wrote[name] for name in counted}
    assert made.idle()


async def test_who_leaves_while_a_finished_reply_is_sent_has_an_exact_bill(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    said = {"index": 0, "message": {"role": "assistant", "content": "x" * (24 << 20)}}
    usage = {"prompt_tokens": 3, "completion_tokens": 9}
    whole = json.dumps({"object": "chat.completion", "choices": [said], "usage": usage})
    made = await world(tmp_path, stack, Script(pieces=(Piece(data=whole.encode()),)))
    request = REQUESTS["llm"]
    reader, writer = await asyncio.open_connection(*made.running.app.public_address, limit=1024)
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: gateway"]
    lines += [f"Authorization: Bearer {made.running.key}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(request.body)}", "", ""]
    writer.write("\r\n".join(lines).encode() + request.body)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    await until(lambda: bool(made.receipts))

    row = made.row
    assert (row.ending, row.on_disconnect, row.exact) == ("client_gone", "drained", True)
    assert row.units["llm.bytes_out"] < len(whole)
    assert made.idle()


async def test_a_limit_is_charged_what_was_billed_for_a_reply_that_was_finished(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    """Also where nobody counted: what was written is known, and stands in place of the reserve."""
    limits = 'limits = { units = { "llm.output_tokens" = "9000/month" } }'
    script = Script(between_ms=15, tokens=24, usage=False)
    made = await world(tmp_path, stack, script, tenant=f"{DRAIN}\n{limits}")
    await made.left(STREAM, Leave(at="body", events=1))
    levels = made.running.app.state.limits.levels
    [charged] = [each.value for key, each in levels._levels.items() if "output_tokens" in key]

    assert (made.row.on_disconnect, made.row.by) == ("drained", "estimate")
    assert charged == made.row.units["llm.output_tokens"] == 24


async def test_by_default_the_engine_stops_and_the_bill_is_what_was_read(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    made = await world(tmp_path, stack, tenant="")
    await made.left(STREAM, Leave(at="body", events=2))
    await until(lambda: made.engine.records[0].gone_at is not None)

    [record] = made.engine.records
    assert not record.answered
    assert (made.row.on_disconnect, made.row.exact) == ("", False)
    assert made.row.units["llm.output_tokens"] < 24


@pytest.mark.parametrize(
    ("tenant", "model", "drained"),
    [
        ("", "", False),
        ("", DRAIN, True),
        (DRAIN, "", True),
        ('on_disconnect = "cancel"', DRAIN, False),
    ],
)
async def test_the_tenant_says_it_else_the_model(
    tmp_path: Path, stack: AsyncExitStack, tenant: str, model: str, drained: bool
) -> None:
    made = await world(tmp_path, stack, tenant=tenant, facts={"chat": model})
    await made.left(STREAM, Leave(at="body", events=1))

    assert made.row.on_disconnect == ("drained" if drained else "")


async def test_nothing_that_was_not_begun_is_begun_for_who_left(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    made = await world(tmp_path, stack, Script(piece_ms=60, between_ms=20))
    long = ask.speech(5, model="voice", sentences=30)
    await made.left(long, Leave(at="body", events=1))
    calls = [record for record in made.engine.records if record.method == "POST"]
    row, wrote = made.row, made.wrote

    assert 0 < len(calls) < 15
    assert all(record.answered for record in calls)
    assert (row.ending, row.on_disconnect, row.exact) == ("client_gone", "cut", False)
    # Joints of pieces are faded into each other.
    assert 0 <= wrote["tts.speech_ms"] - row.units["tts.speech_ms"] <= 8 * len(calls)
    assert row.units["tts.characters"] < len(ask.speech_text(5, 30))
    assert made.idle()


async def test_a_failure_is_not_tried_again_for_who_left(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    fails = Script(headers_after_ms=150, fault=Fault(kind="reset", after=None))
    made = await world(tmp_path, stack, fails)
    await made.left(REQUESTS["llm"])

    assert len(made.engine.records) == 1
    assert made.row.on_disconnect == "cut"
    assert made.row.units.get("llm.output_tokens", 0) == 0
    assert made.idle()


@pytest.mark.parametrize(
    ("more", "script"),
    [
        ('[limits]\ndrained_bytes = "1KiB"\n', Script(headers_after_ms=50, tokens=2000)),
        (
            '[timeouts.llm]\ntotal = { base = "600ms" }\n',
            Script(tokens=8, fault=Fault(kind="silence", after=3)),
        ),
    ],
)
async def test_bytes_and_the_requests_own_deadline_end_it(
    tmp_path: Path, stack: AsyncExitStack, more: str, script: Script
) -> None:
    made = await world(tmp_path, stack, script, more=more)
    await made.left(STREAM, Leave(at="head"))
    await made.engine.vacant()

    assert not made.engine.records[0].answered
    assert (made.row.on_disconnect, made.row.exact) == ("cut", False)
    assert made.idle()


async def test_before_a_call_is_out_there_is_nothing_to_finish(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    engine = await stack.enter_async_context(
        ScriptedEngine(lambda record: Script(headers_after_ms=300))
    )
    backends = [{"url": engine.url, "slots": 1}]
    running = await start(tmp_path, backends, tenants={"acme": DRAIN}, plugins=["llm"])
    stack.push_async_callback(running.app.close)
    made = World(running, engine)
    first = asyncio.create_task(send(running.url, REQUESTS["llm"], key=running.key))
    await asyncio.sleep(0.1)
    await made.left(ask.chat(9, model="chat"), Leave(at="sent", after_ms=50))
    await first

    assert [receipt.notes.get("on_disconnect") for receipt in made.receipts] == [None, None]
    assert [record.tag for record in engine.records] == [1]


async def test_a_call_that_waits_to_be_tried_again_is_given_up_with_its_client(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    """The first engine refused it and the other one is busy: nobody is at work for it."""
    busy, mine = ask.chat(1, model="chat", stream=True), ask.chat(2, model="chat")
    refused: list[Record] = []

    def script(record: Record) -> Script:
        if record.tag == 1 or refused:
            return Script(gated=record.tag == 1)
        refused.append(record)
        return Script(refusal=Refusal(status=503))

    engines = [await stack.enter_async_context(ScriptedEngine(script)) for _ in range(2)]
    backends = [{"url": engine.url, "slots": 1} for engine in engines]
    running = await start(tmp_path, backends, tenants={"acme": DRAIN}, plugins=["llm"])
    stack.push_async_callback(running.app.close)
    receipts, key, left = receipts_of(running), running.key, asyncio.Event()
    other = asyncio.create_task(send(running.url, busy, key=key))
    await until(lambda: any(engine.of(1) for engine in engines))
    leaves = send(running.url, mine, key=key, leave=Leave(at="sent"), go=left)
    leaving = asyncio.create_task(leaves)
    await until(lambda: running.app.state.fleet.queued)
    left.set()
    await leaving
    await until(lambda: bool(receipts))
    for engine in engines:
        engine.release(1, 20)
    await other

    assert receipts[0].ending == "client_gone"
    assert [len(engine.of(2)) for engine in engines if engine.of(2)] == [1]


async def test_pages_that_wait_for_a_slot_are_not_begun_for_who_left(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    engine = await stack.enter_async_context(ScriptedEngine(lambda record: Script(held=True)))
    backends = [{"url": engine.url, "slots": 1}]
    running = await start(tmp_path, backends, tenants={"acme": DRAIN}, plugins=["ocr"])
    stack.push_async_callback(running.app.close)
    receipts, left, key = receipts_of(running), asyncio.Event(), running.key
    document = ask.ocr(6, model="pages", pages=4)
    leaves = send(running.url, document, key=key, leave=Leave(at="sent"), go=left)
    leaving = asyncio.create_task(leaves)
    await until(lambda: running.app.state.fleet.queued == 3)
    left.set()
    await leaving
    engine.release(6, 20)
    await until(lambda: bool(receipts))

    assert len(engine.of(6)) == 1
    assert (receipts[0].ending, receipts[0].notes["on_disconnect"]) == ("client_gone", "cut")
    assert receipts[0].units["ocr.pages"] == 1


async def test_who_comes_again_with_its_key_has_the_reply_that_was_finished(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    made = await world(tmp_path, stack, more="[idempotency]\nbodies = true\n")
    request = REQUESTS["llm"].with_headers(Idempotency_Key="k1")
    await made.left(request)
    again = await send(made.running.url, request, key=made.running.key)

    assert (again.status, again.ended) == (200, "ok")
    assert again.headers["idempotent-replayed"] == "true"
    assert len(made.engine.records) == 1


@pytest.mark.slow
async def test_many_that_leave_leave_nothing(tmp_path: Path, stack: AsyncExitStack) -> None:
    made = await world(tmp_path, stack, Script(between_ms=5, tokens=12))
    tasks = len(asyncio.all_tasks())
    sending = [
        send(
            made.running.url,
            ask.chat(tag, model="chat", stream=True),
            key=made.running.key,
            leave=Leave(at="body", events=1, how="reset" if tag % 2 else "close"),
        )
        for tag in range(40)
    ]
    await asyncio.gather(*sending)
    await until(lambda: len(made.receipts) == 40 and made.idle())
    await asyncio.sleep(0.1)
    gc.collect()

    assert {receipt.notes.get("on_disconnect") for receipt in made.receipts} == {"drained"}
    billed = sum(row.units["llm.output_tokens"] for row in rows(made.running.ledger))
    assert billed == made.wrote["llm.output_tokens"] == 40 * 12
    assert [each for each in gc.get_objects() if isinstance(each, Exchange)] == []
    assert len(asyncio.all_tasks()) <= tasks + 1


async def test_a_refusal_that_nobody_reads_is_billed_nothing(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    refuses = Script(headers_after_ms=120, refusal=Refusal(status=400))
    made = await world(tmp_path, stack, refuses)
    await made.left(REQUESTS["llm"])

    assert made.row.on_disconnect == "cut"
    assert made.row.units.get("llm.output_tokens", 0) == 0
