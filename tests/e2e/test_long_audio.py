"""A recording of several pieces through a gateway: order, pace, retries, silence and the bill.

Source: wire.md 4.2.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import orjson
import pytest
from gateways import Running, start
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Refusal, Script
from oracle.media import wav, wav_file
from oracle.record import Record
from sdks import openai
from waiting import until

from modgate.api.json import Json
from modgate.ledger.reader import rows
from modgate.plugin import Receipt
from modgate.testing import FakeBackend, Scripted

RATE, SLOTS, MANY = 16_000, 3, 100
PATH = "/v1/audio/transcriptions"
MINUTES_MS = 105_000


@asynccontextmanager
async def served(folder: Path, *engines: ScriptedEngine, facts: str = "") -> AsyncIterator[Running]:
    """A gateway with asr alone."""
    backends = [{"url": engine.url, "slots": SLOTS} for engine in engines]
    models, more = {"ears": "asr"}, f'[model.told]\nmodality = "asr"\n{facts}' if facts else ""
    if facts:
        backends = [{**each, "serves": {"ears": "e", "told": "t"}} for each in backends]
    async with await start(folder, backends, plugins=("asr",), models=models, more=more) as running:
        yield running


async def post(
    running: Running, data: bytes, *, begun: asyncio.Event | None = None, **form: str
) -> tuple[int, bytes, list[float]]:
    """A file sent; status, body, and when each of its lines came.  `begun`: set by the first."""
    body = aiohttp.FormData({**{"model": "ears"}, **form})
    body.add_field("file", io.BytesIO(data), filename="a.wav")
    times: list[float] = []
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + PATH, data=body, headers=running.headers) as reply,
    ):
        lines = []
        async for line in reply.content:
            lines.append(line)
            times.append(time.monotonic())
            if begun is not None:
                begun.set()
        return reply.status, b"".join(lines), times


def calls(engine: ScriptedEngine) -> list[Record]:
    return [record for record in engine.records if record.method == "POST"]


def billed(running: Running) -> Mapping[str, int]:
    [row] = rows(running.ledger)
    return row.units


def deltas(body: bytes) -> list[str]:
    events: list[Json] = [
        orjson.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")
    ]
    return [event["delta"] for event in events if "delta" in event]


async def test_text_comes_in_order_while_later_pieces_still_run(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    begun = asyncio.Event()
    engine.script_for = lambda record: replace(OK, held=record.order == 1)
    async with served(tmp_path, engine) as running:
        posted = asyncio.create_task(post(running, wav(MINUTES_MS), begun=begun, stream="true"))
        await begun.wait()
        await until(lambda: any(r.order == 2 and r.ended_at is not None for r in calls(engine)))
        engine.release(calls(engine)[0].request_id)
        status, body, times = await posted
        units = billed(running)
    ended = [record.ended_at or 0 for record in calls(engine)]
    said = deltas(body)

    assert status == 200
    assert len(ended) > SLOTS
    assert times[0] < max(ended)
    assert sorted(ended) != ended
    assert [delta.split()[0] for delta in said].count("w000") == len(ended)
    assert units["asr.audio_ms"] == MINUTES_MS


async def test_slots_are_kept_busy(tmp_path: Path, engine: ScriptedEngine) -> None:
    """A slot that is free gets the next piece, and no more of them are in hand than slots."""
    engine.script_for = lambda record: replace(OK, held=True)

    def in_hand() -> int:
        return sum(record.whole and record.ended_at is None for record in calls(engine))

    async with served(tmp_path, engine) as running:
        posted = asyncio.create_task(post(running, wav(MINUTES_MS)))
        busy: list[int] = []
        while True:
            await until(lambda: in_hand() >= SLOTS)
            busy.append(in_hand())
            had = calls(engine)
            if sum(each.sent["asr.audio_samples"] for each in had) >= MINUTES_MS * RATE // 1000:
                break
            engine.release(had[0].request_id)
            await until(lambda had=had: len(calls(engine)) > len(had))
        engine.release(had[0].request_id, MANY)
        status, _, _ = await posted

    assert status == 200
    assert len(busy) > 2
    assert set(busy) == {SLOTS}


async def test_a_piece_that_failed_is_tried_elsewhere_and_billed_once(tmp_path: Path) -> None:
    def third(record: Record) -> Script:
        return replace(OK, refusal=Refusal(status=500)) if record.order == 2 else OK

    async with ScriptedEngine(third) as weak, ScriptedEngine() as good:
        async with served(tmp_path, weak, good) as running:
            status, body, _ = await post(running, wav(MINUTES_MS), response_format="verbose_json")
            units = billed(running)
        tried = {record.index for record in calls(weak) if record.order == 2}

    assert status == 200
    assert len(tried) <= 1
    assert units["asr.audio_ms"] == MINUTES_MS
    assert orjson.loads(body)["duration"] == MINUTES_MS / 1000


async def test_a_piece_that_fails_everywhere_fails_the_request(tmp_path: Path) -> None:
    def third(record: Record) -> Script:
        return replace(OK, refusal=Refusal(status=500)) if record.order == 2 else OK

    async with ScriptedEngine(third) as one, ScriptedEngine(third) as other:
        async with served(tmp_path, one, other) as running:
            status, body, _ = await post(running, wav(MINUTES_MS))
            units = billed(running)
        tried = [r for engine in (one, other) for r in calls(engine) if r.order == 2]

    assert (status, orjson.loads(body)["error"]["code"]) == (502, "upstream_error")
    assert len(tried) == 2
    assert units["asr.audio_ms"] == 40_000


@pytest.mark.parametrize("window_s", [30, 2])
async def test_silence_is_billed_and_asks_no_engine(
    tmp_path: Path, engine: ScriptedEngine, window_s: int
) -> None:
    async with served(tmp_path, engine, facts=f"window_s = {window_s}") as running:
        data = wav_file(bytes(70 * RATE * 2), rate=RATE)
        status, body, _ = await post(running, data, model="told", response_format="verbose_json")
        units = billed(running)

    assert (status, orjson.loads(body)["text"]) == (200, "")
    assert calls(engine) == []
    assert units["asr.audio_ms"] == 70_000


async def test_a_client_that_leaves_pays_what_it_was_told(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: replace(OK, headers_after_ms=60_000 if record.order else 0)
    settled: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    async with served(tmp_path, engine) as running:
        running.app.state.observer.also(settled.set_result)
        body = aiohttp.FormData({"model": "ears", "stream": "true"})
        body.add_field("file", io.BytesIO(wav(MINUTES_MS)), filename="a.wav")
        async with aiohttp.ClientSession() as session:
            reply = await session.post(running.url + PATH, data=body, headers=running.headers)
            await reply.content.readline()
            reply.close()
        async with asyncio.timeout(5):
            receipt = await settled

    assert receipt.ending == "client_gone"
    assert receipt.units["asr.audio_ms"] == 20_000
    assert not receipt.exact


async def test_the_form_of_the_sdk_is_understood(tmp_path: Path, engine: ScriptedEngine) -> None:
    """Booleans, arrays and objects as openai-python spells them in a form."""
    async with served(tmp_path, engine, facts="logprobs = true") as running:
        client = openai.AsyncOpenAI(
            base_url=f"{running.url}/v1", api_key=running.key, max_retries=0
        )
        async with client:
            heard = await client.audio.transcriptions.create(
                model="told",
                file=("a.bin", wav(2_000)),
                chunking_strategy={"type": "server_vad", "silence_duration_ms": 400},
                include=["logprobs"],
                language="English",
            )
            events = [
                event
                async for event in await client.audio.transcriptions.create(
                    model="told", file=("a.bin", wav(2_000)), stream=True
                )
            ]
    form = calls(engine)[0].asked

    assert heard.text.startswith("w000")
    assert form.field("language") == "en"
    assert form.field("include[]") == "logprobs"
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "".join(e.delta for e in events if e.type == "transcript.text.delta")


CHUNKS = [
    b'{"object":"transcription.chunk","choices":[{"delta":{"content":"Hello"}}]}',
    b'{"object":"transcription.chunk","choices":[{"delta":{"content":" you."},'
    b'"finish_reason":"stop"}]}',
    b'{"object":"transcription.chunk","choices":[],"usage":{"prompt_tokens":14,'
    b'"completion_tokens":5,"total_tokens":19}}',
]


@asynccontextmanager
async def spoken_to(folder: Path, family: str) -> AsyncIterator[tuple[Running, FakeBackend]]:
    """A gateway over one engine of a family whose model streams."""
    more = '[model.live]\nmodality = "asr"\nstreams = true'
    async with FakeBackend() as backend:
        one = {"url": backend.url, "family": family, "serves": {"live": "e"}}
        async with await start(folder, [one], plugins=("asr",), models={}, more=more) as running:
            yield running, backend


async def test_an_engines_own_stream_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    async with spoken_to(tmp_path, "vllm") as (running, backend):
        backend.answer(PATH, Scripted(reply=CHUNKS, pause_s=0.05))
        status, body, times = await post(running, wav(2_000), model="live", stream="true")
        units = billed(running)
    last = orjson.loads(body.splitlines()[-4][6:])

    assert status == 200
    assert deltas(body) == ["Hello", " you."]
    assert times[-1] - times[0] > 0.05
    assert last["usage"]["total_tokens"] == 19
    assert units["asr.audio_ms"] == 2_000


async def test_an_engines_stream_that_is_cut_is_an_error_and_no_bill(tmp_path: Path) -> None:
    async with spoken_to(tmp_path, "vllm") as (running, backend):
        backend.answer(PATH, Scripted(reply=CHUNKS, fault="reset", after=1))
        status, body, _ = await post(running, wav(2_000), model="live", stream="true")
        units = billed(running)

    assert status == 200
    assert body.endswith(b"data: [DONE]\n\n")
    assert b'"code":"upstream_error"' in body
    assert units.get("asr.audio_ms", 0) == 0


async def test_an_engine_without_streams_answers_one_whole(tmp_path: Path) -> None:
    reply = b'{"text":" one two\\n","segments":[{"start":0.0,"end":1.0,"text":" one"},'
    reply += b'{"start":1.0,"end":2.0,"text":" two"}]}'
    async with spoken_to(tmp_path, "whispercpp") as (running, backend):
        backend.answer("/inference", Scripted(reply=reply))
        status, body, _ = await post(running, wav(2_000), model="live", stream="true")

    assert (status, deltas(body)) == (200, ["one", " two"])
