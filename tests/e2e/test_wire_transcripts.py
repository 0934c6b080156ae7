"""The replies of the wire contract's appendix, byte for byte; ids that are made anew read 0.

Source: wire.md Appendix A (A1 to A5, A7), and 2.5 for the usage of `message_delta`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from gateways import Running, client, start
from oracle.engine import always
from oracle.faults import Piece, Script

from modgate.plugin import JsonObject
from modgate.testing.backend import FakeBackend, Scripted

CHAT, SPEECH = "/v1/chat/completions", "/v1/audio/speech"
ASKED: JsonObject = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
STREAM: JsonObject = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
TWO_WORDS = b"\x01\x00\xff\xff"

MADE = re.compile(r"(?<=_)[0-9a-f]{32,34}")
FRONT = '{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1730000000,"model":"%s"'
CHOICE = ',"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]'


def chunk(delta: str, finish: str = "null", *, model: str = "engine-chat", more: str = "") -> str:
    return FRONT % model + CHOICE % (delta, finish) + more + "}"


FIRST, HI = '{"role":"assistant","content":""}', '{"content":"Hi"}'
USED = '"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}'
LAST = FRONT + ',"choices":[],' + USED + "}"
ENGINES = [chunk(FIRST), chunk(HI), chunk("{}", '"stop"'), LAST % "engine-chat"]


def events(*data: str) -> str:
    return "".join(f"data: {each}\n\n" for each in data)


def shown(delta: str, finish: str = "null") -> str:
    return chunk(delta, finish, model="chat", more=',"usage":null')


A1 = ": ping\n\n" + events(shown(FIRST), shown(HI), shown("{}", '"stop"'), LAST % "chat", "[DONE]")
A2 = events(
    shown(FIRST),
    shown(HI),
    '{"error":{"message":"the engine\'s stream was cut inside an event","type":"server_error",'
    '"param":null,"code":"upstream_error"}}',
    "[DONE]",
)
CALL = [
    '{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a1","type":"function",'
    '"function":{"name":"get_weather","arguments":""}}]}',
    r'{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}',
    r'{"tool_calls":[{"index":0,"function":{"arguments":"\"Paris\"}"}}]}',
]
A3 = events(*map(shown, CALL), shown("{}", '"tool_calls"'), LAST % "chat", "[DONE]")


def named(*data: str) -> str:
    kinds = (re.match(r'\{"type":"([a-z_.]+)"', each) for each in data)
    return "".join(
        f"event: {kind[1]}\ndata: {each}\n\n"
        for kind, each in zip(kinds, data, strict=True)
        if kind
    )


A4 = named(
    '{"type":"message_start","message":{"id":"msg_0","type":"message","role":"assistant",'
    '"model":"chat","content":[],"stop_reason":null,"stop_sequence":null,'
    '"usage":{"input_tokens":0,"output_tokens":0}}}',
    '{"type":"ping"}',
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}',
    '{"type":"content_block_stop","index":0}',
    '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    '"usage":{"input_tokens":9,"output_tokens":1,"cache_read_input_tokens":0,'
    '"cache_creation_input_tokens":0}}',
    '{"type":"message_stop"}',
)
PLACE = '"item_id":"msg_0","output_index":0,"content_index":0'
PART = '{"type":"output_text","text":"%s","annotations":[],"logprobs":[]}'
EMPTY, WHOLE = PART % "", PART % "Hi"
ITEM = '{"id":"msg_0","type":"message","role":"assistant","status":"%s","content":[%s]}'
DONE_ITEM = ITEM % ("completed", WHOLE)
A5 = named(
    '{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":'
    f"{ITEM % ('in_progress', '')}}}",
    f'{{"type":"response.content_part.added","sequence_number":3,{PLACE},"part":{EMPTY}}}',
    f'{{"type":"response.output_text.delta","sequence_number":4,{PLACE},"delta":"Hi",'
    '"logprobs":[]}',
    f'{{"type":"response.output_text.done","sequence_number":5,{PLACE},"text":"Hi","logprobs":[]}}',
    f'{{"type":"response.content_part.done","sequence_number":6,{PLACE},"part":{WHOLE}}}',
    '{"type":"response.output_item.done","sequence_number":7,"output_index":0,'
    f'"item":{DONE_ITEM}}}',
)
A7 = events(
    '{"type":"speech.audio.delta","audio":"AQD//w=="}',
    '{"type":"speech.audio.done","usage":{"input_tokens":5,"output_tokens":0,"total_tokens":5}}',
    "[DONE]",
)


@pytest.fixture
async def engine() -> AsyncIterator[FakeBackend]:
    async with FakeBackend() as engine:
        yield engine


@asynccontextmanager
async def asking(running: Running, path: str, body: JsonObject) -> AsyncIterator[ClientResponse]:
    """A stream that has begun."""
    async with (
        client() as session,
        session.post(running.url + path, json=body, headers=running.headers) as reply,
    ):
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["cache-control"] == "no-cache"
        assert reply.headers["request-id"] == reply.headers["x-request-id"]
        yield reply


async def told(running: Running, path: str, body: JsonObject) -> str:
    """What a client reads of a stream."""
    async with asking(running, path, body) as reply:
        return MADE.sub("0", await reply.text())


def said(*chunks: str) -> Scripted:
    return Scripted(reply=[each.encode() for each in chunks])


def piece(data: str) -> Piece:
    return Piece(data=data.encode())


async def test_a_chat_that_waits_in_line_is_streamed_to_the_letter(tmp_path: Path) -> None:
    script = Script(pieces=(piece(events(*ENGINES, "[DONE]")),), held=True)
    more = '[timeouts]\nkeep_alive = "20ms"'
    async with (
        always(script) as held,
        await start(tmp_path, [{"url": held.url}], plugins=("llm",), more=more) as running,
        asking(running, CHAT, STREAM) as reply,
    ):
        begun = await reply.content.readuntil(b"\n\n")
        await held.reached(reply.headers["x-request-id"])
        held.release(reply.headers["x-request-id"], 2)
        text = (begun + await reply.read()).decode()

    assert re.sub("^(: ping\n\n)+", ": ping\n\n", text) == A1


async def test_a_chat_that_dies_is_streamed_to_the_letter(tmp_path: Path) -> None:
    script = Script(pieces=(piece(events(*ENGINES[:2])), piece('data: {"id"')), gated=True)
    async with (
        always(script) as gated,
        await start(tmp_path, [{"url": gated.url}], plugins=("llm",)) as running,
        asking(running, CHAT, STREAM) as reply,
    ):
        begun = await reply.content.readuntil(b"Hi")
        gated.release(reply.headers["x-request-id"], 2)
        text = (begun + await reply.read()).decode()

    assert text == A2


async def test_a_call_is_streamed_to_the_letter(tmp_path: Path, engine: FakeBackend) -> None:
    engine.answer(CHAT, said(*map(chunk, CALL), chunk("{}", '"tool_calls"'), ENGINES[3]))
    async with await start(tmp_path, [{"url": engine.url}], plugins=("llm",)) as running:
        text = await told(running, CHAT, STREAM)

    assert text == A3


async def test_messages_and_responses_are_streamed_to_the_letter(
    tmp_path: Path, engine: FakeBackend
) -> None:
    engine.answer(CHAT, said(*ENGINES))
    async with await start(tmp_path, [{"url": engine.url}], plugins=("llm",)) as running:
        message = await told(running, "/v1/messages", {**ASKED, "max_tokens": 5, "stream": True})
        body = {"model": "chat", "input": "x", "stream": True}
        response = await told(running, "/v1/responses", body)

    assert message == A4
    front, middle, end = response.partition(A5)
    assert middle == A5
    assert re.findall("event: (.*)", front) == ["response.created", "response.in_progress"]
    assert re.findall("event: (.*)", end) == ["response.completed"]
    assert f'"output":[{DONE_ITEM}]' in end


async def test_speech_is_streamed_in_events_to_the_letter(
    tmp_path: Path, engine: FakeBackend
) -> None:
    engine.answer(SPEECH, Scripted(reply=TWO_WORDS, content_type="audio/pcm"))
    body = {"model": "voice", "voice": "a", "input": "Hello", "response_format": "pcm"}
    async with await start(tmp_path, [{"url": engine.url}], plugins=("tts",)) as running:
        text = await told(running, SPEECH, {**body, "stream_format": "sse"})

    assert text == A7
