"""Speech through a running gateway: a slow reader, a failing engine, and the bill of both."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest
from gateways import Running, start
from waiting import until

from modgate.ledger.reader import rows
from modgate.ledger.records import Ended
from modgate.plugin import Json
from modgate.testing.backend import FakeBackend, Scripted
from modgate_tts.wav import RATE, SAMPLE_BYTES, wav_header

PATH = "/v1/audio/speech"
TEXT = (
    "This is a sentence of a speech that is long enough to be a piece of its own, and more. " * 40
)
SECOND = b"\x10\x00" * 24_000
PCM = "audio/pcm"


@pytest.fixture
async def backend() -> AsyncIterator[FakeBackend]:
    async with FakeBackend() as backend:
        yield backend
    await asyncio.sleep(0.02)


@pytest.fixture
async def running(tmp_path: Path, backend: FakeBackend) -> AsyncIterator[Running]:
    async with await start(tmp_path, [{"url": backend.url}], plugins=("tts",)) as running:
        yield running
    await asyncio.sleep(0.02)  # connections that were cut are closed at the loop's next turns


def asked(**more: str) -> dict[str, str]:
    return {"model": "voice", "voice": "amy", "input": TEXT, "response_format": "pcm", **more}


async def billed(running: Running) -> Ended:
    """The one row of the ledger, written just behind the reply."""
    await until(lambda: list(rows(running.ledger)))
    [row] = rows(running.ledger)
    return row


async def test_a_client_that_does_not_read_stops_the_engines(
    running: Running, backend: FakeBackend
) -> None:
    backend.answer(PATH, Scripted(reply=[SECOND] * 200, content_type=PCM))
    async with (
        aiohttp.ClientSession(read_bufsize=1024) as session,
        session.post(running.url + PATH, json=asked(), headers=running.headers) as reply,
    ):
        await reply.content.readany()
        await asyncio.sleep(0.4)
        asked_for = len(backend.calls)
        reply.close()
        await asyncio.sleep(0.05)

    assert asked_for == 3
    assert len(backend.calls) == 3


@pytest.mark.parametrize("name", ["pcm", "wav", "mp3"])
async def test_a_speech_that_fails_midway_is_cut_and_billed_by_what_left(
    running: Running, backend: FakeBackend, name: str
) -> None:
    good = Scripted(reply=[SECOND], content_type=PCM)
    backend.answer(
        PATH, good, Scripted(reply=[SECOND] * 4, content_type=PCM, fault="reset", after=1)
    )
    async with aiohttp.ClientSession() as session:
        body = asked(response_format=name)
        async with session.post(running.url + PATH, json=body, headers=running.headers) as reply:
            assert reply.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await reply.read()
    row = await billed(running)

    assert not row.exact
    assert 1000 <= row.units["tts.speech_ms"] <= 2000
    assert row.units["tts.characters"] < len(TEXT) / 4


async def first_s(url: str, body: dict[str, str], headers: dict[str, str]) -> float:
    """To the first byte of audio; the rest is read."""
    began, first = time.perf_counter(), 0.0
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + PATH, json=body, headers=headers) as reply,
    ):
        async for _ in reply.content.iter_any():
            first = first or time.perf_counter() - began
    return first


@pytest.mark.parametrize("name", ["pcm", "mp3"])
async def test_the_first_sound_is_hardly_later_than_the_engines_own(
    running: Running, backend: FakeBackend, name: str
) -> None:
    """The engine pauses before each piece; the gateway must not wait for the second."""
    backend.answer(PATH, *[Scripted(reply=[SECOND] * 2, content_type=PCM, pause_s=0.2)] * 6)
    body = asked(response_format=name, input="Good morning to all of you.")
    await first_s(running.url, body, running.headers)  # modules are loaded, connections made
    own, through = [], []
    for _ in range(2):
        own.append(await first_s(backend.url, body, {}))
        through.append(await first_s(running.url, body, running.headers))

    assert min(through) <= 1.3 * min(own)


async def test_an_engine_that_fails_at_once_is_a_typed_error(
    running: Running, backend: FakeBackend
) -> None:
    backend.answer(PATH, Scripted(status=500, reply=b"{}"))
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + PATH, json=asked(), headers=running.headers) as reply,
    ):
        assert reply.status == 502
        assert (await reply.json())["error"]["code"] == "upstream_error"


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("audio/pcm;rate=48000", {}),
        ("audio/pcm; rate=48000; channels=1; bits=16", {}),
        ("audio/pcm;encoding=signed-int;rate=48000", {}),
        (PCM, {"X-Sample-Rate": "48000", "X-Channels": "1"}),
    ],
)
async def test_speech_has_the_rate_that_its_engine_says(
    running: Running, backend: FakeBackend, kind: str, headers: dict[str, str]
) -> None:
    backend.answer(PATH, Scripted(reply=[SECOND] * 2, content_type=kind, headers=headers))
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            running.url + PATH, json=asked(input="Hello."), headers=running.headers
        ) as reply,
    ):
        data = await reply.read()
    row = await billed(running)

    assert row.units["tts.speech_ms"] == 1000  # 96,000 bytes
    assert len(data) == len(SECOND)


@pytest.mark.parametrize("headers", [{"X-Sample-Rate": "0"}, {"X-Sample-Rate": "unknown"}])
async def test_an_engine_that_says_no_rate_has_the_one_of_its_model(
    running: Running, backend: FakeBackend, headers: dict[str, str]
) -> None:
    backend.answer(PATH, Scripted(reply=[SECOND], content_type=PCM, headers=headers))
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            running.url + PATH, json=asked(input="Hello."), headers=running.headers
        ) as reply,
    ):
        data = await reply.read()
    row = await billed(running)

    assert row.units["tts.speech_ms"] == 1000
    assert len(data) == len(SECOND)


@pytest.mark.parametrize("rate", [1, 7_999, 192_001])
@pytest.mark.parametrize("form", ["type", "header", "wav"])
async def test_speech_of_a_rate_that_none_has_is_not_drawn_out_and_billed(
    running: Running, backend: FakeBackend, rate: int, form: str
) -> None:
    kinds = {"type": f"{PCM};rate={rate}", "wav": "audio/wav"}
    headers = {"X-Sample-Rate": str(rate)} if form == "header" else {}
    samples = SECOND[:480]
    if form == "wav":
        known = struct.pack("<II", RATE, RATE * SAMPLE_BYTES)
        samples = wav_header(480).replace(known, struct.pack("<II", rate, rate * 2)) + samples
    said = Scripted(reply=[samples], content_type=kinds.get(form, PCM), headers=headers)
    backend.answer(PATH, said)
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + PATH, json=asked(), headers=running.headers) as reply,
    ):
        status = reply.status
        await reply.read()
    row = await billed(running)

    assert status == 502
    assert not any(row.units.get(f"tts.{name}") for name in ("speech_ms", "characters"))


async def test_speech_of_two_channels_is_not_passed_off_as_longer(
    running: Running, backend: FakeBackend
) -> None:
    stereo = f"{PCM};rate=24000;channels=2"
    backend.answer(PATH, Scripted(reply=[SECOND], content_type=stereo))
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + PATH, json=asked(), headers=running.headers) as reply,
    ):
        assert reply.status == 502
        assert (await reply.json())["error"]["code"] == "upstream_invalid_response"


@pytest.mark.parametrize(
    ("voice", "said"),
    [
        ("response_format", {"error": {"message": "no voice is called response_format"}}),
        (
            "amy",
            {
                "detail": [
                    {
                        "type": "value_error",
                        "loc": ["body"],
                        "msg": "Value error, amy speaks no English",
                        "input": {"voice": "amy", "response_format": "pcm"},
                    }
                ]
            },
        ),
        (
            "amy",
            {"message": "[{'loc': ('body',), 'input': {'input': '', 'response_format': 'pcm'}}]"},
        ),
    ],
    ids=["the client's word", "the request beside an error", "the request in an error"],
)
async def test_a_refusal_that_repeats_the_request_is_not_about_its_format(
    running: Running, backend: FakeBackend, voice: str, said: Json
) -> None:
    backend.answer(PATH, Scripted(status=400, reply=[orjson.dumps(said)]))
    body = asked(input="Hello.", voice=voice)
    async with aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(6):
            async with session.post(running.url + PATH, json=body, headers=running.headers) as got:
                statuses.append(got.status)

    assert statuses == [400] * 6
    assert len(backend.calls) == 6


async def test_a_wav_has_its_true_size_where_the_engine_said_it(
    running: Running, backend: FakeBackend
) -> None:
    backend.answer(PATH, Scripted(reply=SECOND, content_type=PCM))
    body = asked(response_format="wav", input="Hello.")
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + PATH, json=body, headers=running.headers) as reply,
    ):
        data = await reply.read()

    assert int.from_bytes(data[40:44], "little") == len(SECOND)
    assert data[44:] == SECOND
    assert reply.headers["x-modgate-sample-rate"] == "24000"
