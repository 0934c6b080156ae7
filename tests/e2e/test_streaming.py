"""A stream is relayed as it comes, in lock step with the engine, and kept alive in its silence.

Source: architecture.md 8; wire.md 1.6 (event streams and their comments).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from gateways import start
from junk.leftovers import at_work
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine, always
from oracle.faults import Script
from oracle.requests import ClientRequest
from rigs.unhurried import UnhurriedLoop, unhurried

GATED = Script(gated=True, gated_calls=True, tokens=6)
SEGMENTS = 10  # of a window of 20 s: each is an event of its own
ROUTES: dict[str, ClientRequest] = {
    "chat": ask.chat(1, model="chat", stream=True, usage=True),
    "completions": ask.completion(2, model="chat", stream=True, usage=True),
    "vision": ask.vision(3, model="eyes", stream=True, usage=True),
    # A whole reply for each window: the second window's waits until the client has the first's.
    "transcription": ask.transcription(4, model="ears", duration_ms=75_000, stream=True),
    "speech": ask.speech(5, model="voice"),
    "speech in wav": ask.speech(6, model="voice", response_format="wav"),
    "speech in events": ask.speech(7, model="voice", sse=True),
}


@pytest.mark.parametrize("route", ROUTES)
async def test_the_client_has_a_piece_before_the_engine_says_the_next(
    tmp_path: Path, route: str
) -> None:
    request, each = ROUTES[route], SEGMENTS if route == "transcription" else 1
    ahead: list[tuple[int, int]] = []
    async with always(GATED) as engine:

        def acknowledge(request_id: str, events: int) -> None:
            pieces, more = divmod(events - 1, each)
            if more == 0:
                ahead.append((pieces + 1, sum(record.served for record in engine.of(request_id))))
                engine.release(request_id)

        # One slot: the engine lets calls go as they come, and of two at once either may be first.
        async with await start(tmp_path, [{"url": engine.url, "slots": 1}]) as running:
            client = await send(
                running.url, request, key=running.key, on_event=acknowledge, within_s=60
            )

    assert (client.ended, client.error) == ("ok", None)
    assert len(ahead) >= 3
    assert [served for _, served in ahead] == [pieces for pieces, _ in ahead]


@pytest.mark.parametrize("route", ["chat", "completions", "speech in events"])
async def test_a_silent_engine_does_not_make_the_stream_silent(tmp_path: Path, route: str) -> None:
    script = Script(first_byte_after_ms=300, tokens=3)
    request = ROUTES[route]
    more = "[timeouts]\nkeep_alive = '40ms'\n"
    async with always(script) as engine:
        async with await start(tmp_path, [{"url": engine.url}], more=more) as running:
            client = await send(running.url, request, key=running.key, within_s=10)
        [record] = [each for each in engine.records if each.method == "POST"]

    comments = [line for line in client.body.split(b"\n") if line.startswith(b":")]
    assert (client.ended, client.error) == ("ok", None)
    assert len(comments) >= 3
    assert client.first_byte_at is not None
    assert client.first_byte_at < record.written_at[0]


@pytest.mark.parametrize("route", ["chat", "vision", "speech", "speech in events"])
def test_a_stream_may_last_longer_than_an_sdk_bears_silence(tmp_path: Path, route: str) -> None:
    script = Script(tokens=8, between_ms=100)
    request = ROUTES[route].with_headers(**{"x-stainless-read-timeout": "0.5"})

    async def streamed(loop: UnhurriedLoop) -> tuple[ClientRecord, float]:
        async with (
            always(script) as engine,
            await start(tmp_path, [{"url": engine.url}]) as running,
        ):
            loop.works = partial(at_work, running.app.state.decoders)
            began = loop.time()
            client = await send(running.url, request, key=running.key, within_s=10)
            return client, loop.time() - began

    client, took_s = unhurried(streamed)

    assert took_s > 0.5
    assert (client.ended, client.error) == ("ok", None)


@pytest.mark.parametrize("within", ["x-stainless-read-timeout", "x-request-timeout"])
async def test_a_whole_reply_is_late_by_the_clients_word_and_not_by_what_its_sdk_bears(
    tmp_path: Path, engine: ScriptedEngine, within: str
) -> None:
    """An SDK that bears no more leaves by itself, and raises an error of its own."""
    engine.script_for = lambda record: Script(headers_after_ms=900)
    request = ask.chat(1, model="chat").with_headers(**{within: "0.2"})
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        client = await send(running.url, request, key=running.key)

    assert client.status == (504 if within == "x-request-timeout" else 200)


async def test_a_stream_that_flows_gets_no_comment(tmp_path: Path, engine: ScriptedEngine) -> None:
    engine.script_for = lambda record: replace(GATED, gated=False, between_ms=10)
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        client = await send(running.url, ROUTES["chat"], key=running.key)

    assert client.ended == "ok"
    assert not [line for line in client.body.split(b"\n") if line.startswith(b":")]


async def test_nothing_between_gateway_and_client_is_to_keep_a_stream_for_a_while(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(tokens=2)
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        client = await send(running.url, ROUTES["chat"], key=running.key)

    told = dict(client.headers)
    assert told["content-type"] == "text/event-stream; charset=utf-8"
    assert told["cache-control"] == "no-cache"
    assert told["x-accel-buffering"] == "no"
    assert not {"content-length", "content-encoding"} & told.keys()


async def test_a_whole_reply_says_how_many_milliseconds_it_took(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(first_byte_after_ms=120)
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        client = await send(running.url, ask.chat(1, model="chat"), key=running.key)

    took_ms = (client.ended_at - client.began_at) * 1000
    assert 120 <= int(client.headers["openai-processing-ms"]) <= took_ms + 1


async def test_a_reply_says_how_long_it_waited_for_a_slot_and_for_engines(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """Of a stream as far as that is known when it begins; the rest of its time is the gateway's."""
    engine.script_for = lambda record: Script(first_byte_after_ms=150)
    async with await start(tmp_path, [{"url": engine.url, "slots": 1}]) as running:
        whole, stream = await asyncio.gather(
            send(running.url, ask.chat(1, model="chat"), key=running.key),
            send(running.url, ROUTES["chat"], key=running.key),
        )
        missing = await send(running.url, ask.chat(1, model="nothing"), key=running.key)

    told = [whole.headers, stream.headers]
    [first] = [each for each in told if "x-modgate-queue-ms" not in each]
    [second] = [each for each in told if "x-modgate-queue-ms" in each]
    assert float(first["x-modgate-upstream-ms"]) >= 150
    assert float(second["x-modgate-upstream-ms"]) >= 150
    assert float(second["x-modgate-queue-ms"]) >= 100
    stages = [float(whole.headers.get(f"x-modgate-{at}-ms", 0)) for at in ("queue", "upstream")]
    assert sum(stages) <= int(whole.headers["openai-processing-ms"]) + 1
    assert not {name for name in missing.headers if name.startswith("x-modgate-")}
