"""Chats of the cohere SDK through a gateway: tools, thoughts, plans, errors, and the bill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from conversing import chunk, whole
from gateways import Running
from rigs.weather import CHAT, CITIES, MESSAGE, STREAM, USAGE, arguments, serving
from sdks import cohere

from modgate.ledger.reader import rows
from modgate.plugin import JsonObject
from modgate.testing import FakeBackend, Scripted

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = {"model": "chat", "messages": [{"role": "user", "content": "Weather?"}], "tools": [TOOL]}
WHOLE = orjson.dumps({**orjson.loads(whole(MESSAGE, "tool_calls")), "usage": USAGE})
HI = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi"}),
    chunk({}, "stop"),
    chunk(None, usage=USAGE),
)


@asynccontextmanager
async def chatting(
    folder: Path, *answers: Scripted, section: str = ""
) -> AsyncIterator[tuple[Running, FakeBackend, cohere.AsyncClientV2]]:
    """A gateway over an engine that answers chats so, and the SDK."""
    async with (
        serving(folder, *answers, section=section) as (running, engine),
        cohere.AsyncClientV2(base_url=running.url, api_key=running.key, max_retries=0) as client,
    ):
        yield running, engine, client


async def streamed(
    client: cohere.AsyncClientV2, **more: object
) -> list[cohere.V2ChatStreamResponse]:
    return [event async for event in client.chat_stream(**{**ASKED, **more})]


async def test_calls_and_thoughts_come_whole_and_streamed_and_go_back(tmp_path: Path) -> None:
    plan = whole({**MESSAGE, "content": "I look twice."}, "tool_calls")
    answers = (Scripted(reply=WHOLE), Scripted(reply=STREAM), Scripted(reply=plan))
    async with chatting(tmp_path, *answers) as (_, engine, client):
        once = await client.chat(**ASKED)
        events = await streamed(client)
        planned = (await client.chat(**ASKED)).message
        results = [
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": [{"type": "document", "document": {"data": {"sky": "blue"}}}],
            }
            for call in planned.tool_calls
        ]
        engine.answer(CHAT, Scripted(reply=whole({"role": "assistant", "content": "Sun."})))
        last = await client.chat(**{**ASKED, "messages": [*ASKED["messages"], planned, *results]})

    calls = once.message.tool_calls
    assert [call.function.arguments for call in calls] == [arguments(city) for city in CITIES]
    assert [part.thinking for part in once.message.content] == ["Look twice."]
    assert (once.finish_reason, once.usage.billed_units.input_tokens) == ("TOOL_CALL", 9)
    thoughts = [each.delta.message.content for each in events if each.type == "content-delta"]
    assert [each.thinking for each in thoughts] == ["Look ", "twice."]
    starts = [each.delta.message.tool_calls for each in events if each.type == "tool-call-start"]
    assert [start.id for start in starts] == [call.id for call in calls]
    for index, call in enumerate(calls):
        given = [
            each.delta.message.tool_calls.function.arguments
            for each in events
            if each.type == "tool-call-delta" and each.index == index
        ]
        assert "".join(given) == call.function.arguments
        assert len(given) == 2
    assert events[0].id
    assert events[-1].delta.finish_reason == "TOOL_CALL"
    assert events[-1].delta.usage == once.usage
    assert planned.tool_plan == "I look twice."
    assert last.message.content[0].text == "Sun."
    told = engine.calls[-1].json()["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool"]
    assert told[1] == {**MESSAGE, "content": "I look twice."}
    assert [message["content"] for message in told[2:]] == ['{"sky":"blue"}'] * 2


async def test_the_engine_is_asked_for_a_stream_where_the_client_is(tmp_path: Path) -> None:
    answers = (Scripted(reply=HI), Scripted(reply=whole({"content": "Hi"})))
    async with chatting(tmp_path, *answers) as (_, engine, client):
        await streamed(client)
        await client.chat(**ASKED)

    first, second = (call.json() for call in engine.calls)
    assert (first["stream"], first["stream_options"]) == (True, {"include_usage": True})
    assert second["stream"] is False
    assert (first["model"], first["tools"]) == ("engine-chat", [TOOL])


@pytest.mark.parametrize(
    ("status", "raised", "code"),
    [
        (400, "BadRequestError", 400),
        (429, "TooManyRequestsError", 429),
        (500, "ApiError", 502),
    ],
)
async def test_what_an_engine_refuses_has_the_classes_of_the_sdk(
    tmp_path: Path, status: int, raised: str, code: int
) -> None:
    refusal = Scripted(reply=b'{"error":{"message":"no"}}', status=status)
    errors = cohere.core.api_error.ApiError if raised == "ApiError" else getattr(cohere, raised)
    async with chatting(tmp_path, refusal) as (_, _, client):
        with pytest.raises(errors) as caught:
            await client.chat(**ASKED)
        with pytest.raises(errors) as streaming:
            await streamed(client)

    assert caught.value.status_code == streaming.value.status_code == code
    assert caught.value.body["message"]


async def test_a_chat_whose_engine_is_lost_ends_in_an_error_and_is_billed(tmp_path: Path) -> None:
    broken = Scripted(reply=HI, fault="reset", after=2)
    async with chatting(tmp_path, broken) as (running, _, client):
        events = await streamed(client)
        [row] = rows(running.ledger)

    assert [each.type for each in events] == [
        "message-start",
        "content-start",
        "content-delta",
        "message-end",
    ]
    assert events[-1].delta.finish_reason == "ERROR"
    assert "connection" in events[-1].delta.error
    billed = events[-1].delta.usage.billed_units
    assert billed.output_tokens == row.units["llm.output_tokens"] == 1
    assert billed.input_tokens == row.units.get("llm.input_tokens", 0)


async def test_a_field_that_is_refused_is_named(tmp_path: Path) -> None:
    async with chatting(tmp_path, Scripted(reply=WHOLE)) as (_, engine, client):
        with pytest.raises(cohere.BadRequestError) as caught:
            await client.chat(**ASKED, documents=["a fact"])

    assert "'documents'" in caught.value.body["message"]
    assert not engine.calls


@pytest.mark.slow
async def test_limits_are_told_as_the_sdk_reads_them(tmp_path: Path) -> None:
    section = 'limits = { requests = "1/min" }'
    hi = Scripted(reply=whole({"content": "Hi"}))
    async with chatting(tmp_path, hi, section=section) as (_, _, client):
        await client.chat(**ASKED)
        with pytest.raises(cohere.TooManyRequestsError) as caught:
            await client.chat(**ASKED)

    assert int(caught.value.headers["retry-after"]) >= 1
    assert caught.value.headers["x-ratelimit-reset"]


async def test_the_bill_is_that_of_the_same_chat(tmp_path: Path) -> None:
    async with chatting(tmp_path, Scripted(reply=STREAM)) as (running, _, client):
        await streamed(client)
        body: JsonObject = {**ASKED, "stream": True}
        async with (
            aiohttp.ClientSession(headers=running.headers) as session,
            session.post(running.url + CHAT, json=body) as reply,
        ):
            await reply.read()
        found = list(rows(running.ledger))

    assert [row.surface for row in found] == ["cohere", "openai"]
    mine, chat = [
        {name: row.units[name] for name in ("llm.input_tokens", "llm.output_tokens")}
        for row in found
    ]
    assert mine == chat == {"llm.input_tokens": 9, "llm.output_tokens": 7}
