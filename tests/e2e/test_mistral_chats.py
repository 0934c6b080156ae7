"""Chats of the mistralai SDK through a gateway: tools, thoughts, usage, errors, and the bill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from conversing import whole
from gateways import Running
from rigs.weather import CITIES, MESSAGE, STREAM, arguments, serving
from sdks import mistral, mistral_errors, mistral_models, openai

from modgate.ledger.reader import rows
from modgate.testing import FakeBackend, Scripted

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = {"model": "chat", "messages": [{"role": "user", "content": "Weather?"}], "tools": [TOOL]}
WHOLE = whole(MESSAGE, "stop")


@asynccontextmanager
async def chatting(
    folder: Path, *answers: Scripted
) -> AsyncIterator[tuple[Running, FakeBackend, mistral.Mistral]]:
    """A gateway over an engine that answers chats so, and the SDK."""
    async with (
        serving(folder, *answers) as (running, engine),
        mistral.Mistral(server_url=running.url, api_key=running.key) as client,
    ):
        yield running, engine, client


async def streamed(client: mistral.Mistral, **more: object) -> list[mistral_models.CompletionChunk]:
    return [event.data async for event in await client.chat.stream_async(**{**ASKED, **more})]


@pytest.mark.slow
async def test_calls_come_whole_with_the_usage_streamed_or_not(tmp_path: Path) -> None:
    answers = (Scripted(reply=STREAM), Scripted(reply=WHOLE))
    async with chatting(tmp_path, *answers) as (_, engine, client):
        chunks = await streamed(client)
        once = await client.chat.complete_async(**ASKED, random_seed=7, safe_prompt=False)

    (choice,) = once.choices
    (last,) = chunks[-1].choices
    assert last.delta.tool_calls == choice.message.tool_calls
    calls = choice.message.tool_calls or []
    assert [each.function.arguments for each in calls] == [arguments(city) for city in CITIES]
    assert [(each.id, each.index) for each in calls] == [("call_0", 0), ("call_1", 1)]
    assert last.finish_reason == choice.finish_reason == "tool_calls"
    assert chunks[-1].usage.total_tokens == 16
    assert [each.usage for each in chunks[:-1]] == [None] * 3
    assert all(each.choices for each in chunks)
    assert engine.calls[0].json()["stream_options"] == {"include_usage": True}
    sent = engine.calls[1].json()
    assert (sent["seed"], "safe_prompt" in sent, "random_seed" in sent) == (7, False, False)


async def test_thoughts_are_told_and_go_back(tmp_path: Path) -> None:
    answers = (Scripted(reply=STREAM), Scripted(reply=WHOLE), Scripted(reply=WHOLE))
    async with chatting(tmp_path, *answers) as (_, engine, client):
        chunks = await streamed(client)
        said = (await client.chat.complete_async(**ASKED)).choices[0].message
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in said.tool_calls
        ]
        await client.chat.complete_async(
            model="chat", messages=[*ASKED["messages"], said, *results]
        )

    pieces = [
        part.thinking[0].text
        for each in chunks
        for part in each.choices[0].delta.content
        if isinstance(part, mistral_models.ThinkChunk)
    ]
    assert pieces == ["Look ", "twice."]
    assert said.content == [
        mistral_models.ThinkChunk(
            thinking=[mistral_models.TextChunk(text="Look twice.")], closed=True
        )
    ]
    told = engine.calls[-1].json()["messages"][1]
    assert (told["content"], told["reasoning_content"]) == (None, "Look twice.")
    assert [call["function"]["arguments"] for call in told["tool_calls"]] == [
        arguments(city) for city in CITIES
    ]


async def test_others_get_openais_wire_and_the_same_bill(tmp_path: Path) -> None:
    answers = (Scripted(reply=STREAM), Scripted(reply=STREAM))
    async with chatting(tmp_path, *answers) as (running, _, client):
        await streamed(client)
        async with openai.AsyncOpenAI(
            base_url=running.url + "/v1", api_key=running.key, max_retries=0
        ) as other:
            chunks = [
                each async for each in await other.chat.completions.create(**ASKED, stream=True)
            ]
        found = list(rows(running.ledger))

    assert len(chunks) == len(STREAM) - 1
    assert [each.usage for each in chunks] == [None] * len(chunks)
    assert [row.surface for row in found] == ["mistral", "openai"]
    mistrals, openais = [
        {name: count for name, count in row.units.items() if name != "llm.bytes_out"}
        for row in found
    ]
    assert mistrals == openais
    assert found[0].exact
    assert found[1].exact


async def test_errors_are_those_that_the_sdk_knows(tmp_path: Path) -> None:
    long = Scripted(
        status=400, reply=b'{"error":{"message":"maximum context length is 8 tokens, got 9"}}'
    )
    cut = Scripted(reply=[*STREAM[:4], b'{"error":{"message":"lost","code":500}}'])
    async with chatting(tmp_path, long, cut) as (_, _, client):
        with pytest.raises(mistral_errors.SDKError) as exceeded:
            await client.chat.complete_async(**ASKED)
        with pytest.raises(mistral_errors.HTTPValidationError) as wrong:
            await streamed(client, tool_choice={"type": "function", "function": {"name": "x"}})
        with pytest.raises(mistral_errors.ResponseValidationError) as lost:
            await streamed(client)
        with pytest.raises(mistral_errors.SDKError) as unknown:
            await client.fim.complete_async(model="chat", prompt="def f(")

    assert exceeded.value.status_code == 400
    assert orjson.loads(lost.value.body)["data"]["code"] == "upstream_error"
    assert wrong.value.data.detail
    assert wrong.value.data.detail[0].loc == ["body", "tool_choice"]
    assert orjson.loads(unknown.value.body)["code"] == "unknown_url"
