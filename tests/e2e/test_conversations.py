"""Responses and Messages through a gateway and the SDKs: tools, thoughts, errors, limits, bills."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import orjson
import pytest
from conversing import chunk, whole
from gateways import Running
from rigs.weather import CHAT, CITIES, MESSAGE, STREAM, USAGE, arguments, serving
from sdks import anthropic, openai

from modgate.ledger.reader import rows
from modgate.plugin import JsonObject
from modgate.testing import Scripted

if TYPE_CHECKING:
    from openai.types.responses import ResponseStreamEvent

MESSAGES = "/v1/messages"
TOOL: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}}
ASKED = [{"role": "user", "content": "Weather in Paris and Rome?"}]


WHOLE = orjson.dumps({**orjson.loads(whole(MESSAGE, "tool_calls")), "usage": USAGE})
HI = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi"}),
    chunk({}, "stop"),
    chunk(None, usage=USAGE),
)


def _anthropic(running: Running) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=running.url, api_key=running.key, max_retries=0)


def _openai(running: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=running.url + "/v1", api_key=running.key, max_retries=0)


@pytest.mark.slow
async def test_messages_call_tools_and_think_whole_and_streamed(tmp_path: Path) -> None:
    asked = {
        "model": "chat",
        "max_tokens": 50,
        "messages": ASKED,
        "tools": [{"name": "weather", "input_schema": TOOL}],
    }
    answers = (Scripted(reply=WHOLE), Scripted(reply=STREAM))
    async with serving(tmp_path, *answers) as (running, engine), _anthropic(running) as client:
        once = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_message()
        again = {"role": "assistant", "content": final.model_dump()["content"]}
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "sun"}
            for block in final.content
            if block.type == "tool_use"
        ]
        engine.answer(CHAT, Scripted(reply=whole({"role": "assistant", "content": "Sun."})))
        last = await client.messages.create(
            **{**asked, "messages": [*ASKED, again, {"role": "user", "content": results}]}
        )

    assert [block.type for block in once.content] == ["thinking", "tool_use", "tool_use"]
    assert final.content == once.content
    assert [block.input for block in final.content[1:]] == [{"city": city} for city in CITIES]
    assert final.stop_reason == once.stop_reason == "tool_use"
    assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 7)
    assert kinds.count("input_json") == 4
    assert last.content[0].text == "Sun."
    told = engine.calls[-1].json()["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool"]
    assert told[1]["tool_calls"] == MESSAGE["tool_calls"]
    assert told[1]["reasoning_content"] == "Look twice."
    assert [message["tool_call_id"] for message in told[2:]] == ["call_0", "call_1"]


@pytest.mark.slow
async def test_responses_call_tools_and_think_whole_and_streamed(tmp_path: Path) -> None:
    asked = {
        "model": "chat",
        "input": ASKED,
        "tools": [{"type": "function", "name": "weather", "parameters": TOOL, "strict": False}],
    }
    answers = (Scripted(reply=WHOLE), Scripted(reply=STREAM))
    async with serving(tmp_path, *answers) as (running, engine), _openai(running) as client:
        once = await client.responses.create(**asked)
        async with client.responses.stream(**asked) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        results = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "sun"}
            for item in final.output
            if item.type == "function_call"
        ]
        engine.answer(CHAT, Scripted(reply=whole({"role": "assistant", "content": "Sun."})))
        items = [item.model_dump(exclude={"parsed_arguments"}) for item in final.output]
        last = await client.responses.create(**{**asked, "input": [*ASKED, *items, *results]})

    assert [item.type for item in once.output] == ["reasoning", "function_call", "function_call"]
    assert [item.arguments for item in once.output[1:]] == [arguments(city) for city in CITIES]
    streamed = [item.model_dump(exclude={"parsed_arguments", "id"}) for item in final.output]
    assert streamed == [item.model_dump(exclude={"id"}) for item in once.output]
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == "".join(map(arguments, CITIES))
    assert len(deltas) == 4
    assert final.usage
    assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 7)
    assert last.output_text == "Sun."
    told = engine.calls[-1].json()["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool"]
    assert told[1]["tool_calls"] == MESSAGE["tool_calls"]


async def test_the_engine_is_asked_for_a_stream_where_the_client_is(tmp_path: Path) -> None:
    answers = (Scripted(reply=HI), Scripted(reply=whole({"content": "Hi"})))
    async with serving(tmp_path, *answers) as (running, engine), _openai(running) as client:
        async with client.responses.stream(model="chat", input="Hi?") as stream:
            await stream.until_done()
        await client.responses.create(model="chat", input="Hi?")

    first, second = (call.json() for call in engine.calls)
    assert (first["stream"], first["stream_options"]) == (True, {"include_usage": True})
    assert first["model"] == "engine-chat"
    assert "stream" not in second


@pytest.mark.parametrize(
    ("status", "kind", "raised", "code"),
    [
        (429, "overloaded_error", "OverloadedError", 529),
        (503, "overloaded_error", "OverloadedError", 529),
        (500, "api_error", "InternalServerError", 502),
        (400, "invalid_request_error", "BadRequestError", 400),
    ],
)
async def test_what_an_engine_refuses_has_anthropics_classes(
    tmp_path: Path, status: int, kind: str, raised: str, code: int
) -> None:
    refusal = Scripted(reply=b'{"error":{"message":"no"}}', status=status)
    async with serving(tmp_path, refusal) as (running, _), _anthropic(running) as client:
        with pytest.raises(getattr(anthropic, raised)) as caught:
            await client.messages.create(model="chat", max_tokens=5, messages=ASKED)

    assert caught.value.status_code == code
    assert caught.value.type == kind
    assert str(caught.value.request_id).startswith("req_")


async def _read(client: anthropic.AsyncAnthropic, said: list[str]) -> None:
    async with client.messages.stream(model="chat", max_tokens=5, messages=ASKED) as stream:
        async for text in stream.text_stream:
            said.append(text)


async def test_a_message_whose_engine_is_lost_raises_inside_its_stream(tmp_path: Path) -> None:
    broken = Scripted(reply=HI, fault="reset", after=2)
    async with serving(tmp_path, broken) as (running, _), _anthropic(running) as client:
        said: list[str] = []
        with pytest.raises(anthropic.APIStatusError) as caught:
            await _read(client, said)
        [row] = rows(running.ledger)

    assert said == ["Hi"]
    assert caught.value.type == "api_error"
    assert row.units["llm.output_tokens"] == 1


async def _drain(
    stream: openai.AsyncStream[ResponseStreamEvent], events: list[ResponseStreamEvent]
) -> None:
    async for event in stream:
        events.append(event)


async def test_a_response_whose_engine_is_lost_ends_in_failure_and_raises(tmp_path: Path) -> None:
    broken = Scripted(reply=HI, fault="reset", after=2)
    async with serving(tmp_path, broken) as (running, _), _openai(running) as client:
        stream = await client.responses.create(model="chat", input="Hi?", stream=True)
        events: list[ResponseStreamEvent] = []
        with pytest.raises(openai.APIError) as caught:
            await _drain(stream, events)
        [row] = rows(running.ledger)

    assert events[-1].type == "response.failed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (caught.value.code, caught.value.type) == ("upstream_error", "server_error")
    assert "connection" in caught.value.message
    assert row.units["llm.output_tokens"] == 1


async def test_an_overflow_that_the_engine_finds_is_in_the_words_of_each_route(
    tmp_path: Path,
) -> None:
    text = "This model's maximum context length is 10 tokens. However, your prompt has 20."
    refusal = Scripted(reply=orjson.dumps({"error": {"message": text}}), status=400)
    async with serving(tmp_path, refusal) as (running, _):
        async with _openai(running) as client:
            with pytest.raises(openai.BadRequestError, match="context window") as response:
                await client.responses.create(model="chat", input="Hi?")
        async with _anthropic(running) as other:
            with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
                await other.messages.create(model="chat", max_tokens=5, messages=ASKED)

    assert (response.value.code, response.value.param) == ("context_length_exceeded", "input")


async def test_a_silent_engine_is_covered_by_pings_with_a_name(tmp_path: Path) -> None:
    slow = Scripted(reply=HI, pause_s=0.1)
    more = '[timeouts]\nkeep_alive = "20ms"'
    async with (
        serving(tmp_path, slow, more=more) as (running, _),
        aiohttp.ClientSession(headers=running.headers) as session,
    ):
        body = {"model": "chat", "max_tokens": 5, "messages": ASKED, "stream": True}
        async with session.post(running.url + MESSAGES, json=body) as reply:
            told = await reply.text()
        said: list[str] = []
        async with _anthropic(running) as client:
            await _read(client, said)

    assert told.startswith('event: ping\ndata: {"type":"ping"}\n\n')
    assert ": ping" not in told.replace("event: ping", "")
    assert said == ["Hi"]


async def test_limits_are_told_as_anthropics_sdk_reads_them(tmp_path: Path) -> None:
    section = 'limits = { requests = "1/min", units = { "llm.output_tokens" = "1000/min" } }'
    hi = Scripted(reply=whole({"content": "Hi"}))
    async with (
        serving(tmp_path, hi, section=section) as (running, _),
        _anthropic(running) as client,
    ):
        asked = {"model": "chat", "max_tokens": 5, "messages": ASKED}
        raw = await client.messages.with_raw_response.create(**asked)
        with pytest.raises(anthropic.RateLimitError) as caught:
            await client.messages.create(**asked)

    front = "anthropic-ratelimit"
    assert raw.headers[f"{front}-requests-limit"] == "1"
    assert raw.headers[f"{front}-requests-remaining"] == "0"
    assert raw.headers[f"{front}-requests-reset"].endswith("Z")
    assert raw.headers[f"{front}-output-tokens-limit"] == "1000"
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    assert not [name for name in raw.headers if name.startswith("x-ratelimit")]
    assert caught.value.type == "rate_limit_error"
    assert int(caught.value.response.headers["retry-after"]) >= 1


async def test_the_bill_is_that_of_the_same_chat(tmp_path: Path) -> None:
    async with serving(tmp_path, Scripted(reply=STREAM)) as (running, _):
        async with aiohttp.ClientSession(headers=running.headers) as session:
            for path, body in (
                (CHAT, {"messages": ASKED, "max_tokens": 9}),
                (MESSAGES, {"messages": ASKED, "max_tokens": 9}),
                ("/v1/responses", {"input": ASKED, "max_output_tokens": 9}),
            ):
                asked = {"model": "chat", "stream": True, **body}
                async with session.post(running.url + path, json=asked) as reply:
                    assert reply.status == 200
                    await reply.read()
        found = list(rows(running.ledger))

    counted = [
        {name: row.units[name] for name in ("llm.input_tokens", "llm.output_tokens")}
        for row in found
    ]
    assert counted == [{"llm.input_tokens": 9, "llm.output_tokens": 7}] * 3


@pytest.mark.parametrize("name", ["user", "text"])
async def test_what_a_response_could_not_say_again_is_refused_before_an_engine_is_asked(
    tmp_path: Path, name: str
) -> None:
    deep = b'{"a":' * 260 + b"1" + b"}" * 260
    body = b'{"model":"chat","input":"hi","%b":%b}' % (name.encode(), deep)
    kind = {"content-type": "application/json"}
    async with serving(tmp_path, Scripted(reply=WHOLE)) as (running, engine):
        url = f"{running.url}/v1/responses"
        async with (
            aiohttp.ClientSession(headers={**running.headers, **kind}) as session,
            session.post(url, data=body) as reply,
        ):
            status, said = reply.status, await reply.json()
        calls = len(engine.calls)

    assert (status, said["error"]["code"]) == (400, "invalid_value")
    assert calls == 0
