"""Functions become tools on the way in, and functions again on the way out."""

from __future__ import annotations

import orjson
import pytest

from modgate.kit.chat import read_chat
from modgate.kit.chat_legacy import as_tools
from modgate.kit.chat_relay import ChatRelay, Style
from modgate.plugin import Event, Fields, Json, JsonObject

FUNCTION: JsonObject = {"name": "weather", "parameters": {"type": "object"}}


def body(**changed: Json) -> JsonObject:
    return {"messages": [{"role": "user", "content": "?"}], "functions": [FUNCTION], **changed}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ({"name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
    ids=str,
)
def test_functions_are_sent_as_tools(asked: Json, told: Json) -> None:
    read = read_chat(Fields(body(function_call=asked)))

    assert read.legacy
    assert set(read.drop) == {"functions", "function_call"}
    assert read.put["tools"] == [{"type": "function", "function": FUNCTION}]
    assert read.put["tool_choice"] == told
    assert read.put["parallel_tool_calls"] is False


def test_an_answer_of_a_function_finds_its_call() -> None:
    call = {"name": "weather", "arguments": "{}"}
    made = as_tools(
        body(
            messages=[
                {"role": "user", "content": "?"},
                {"role": "assistant", "content": None, "function_call": call},
                {"role": "function", "name": "weather", "content": "rain"},
            ]
        )
    )["messages"]

    assert made[1]["tool_calls"] == [{"id": "call_1", "type": "function", "function": call}]
    assert "function_call" not in made[1]
    assert made[2] == {"role": "tool", "tool_call_id": "call_1", "content": "rain"}


@pytest.mark.parametrize("functions", [[], None], ids=str)
def test_no_functions_are_none(functions: Json) -> None:
    read = read_chat(Fields(body(functions=functions)))

    assert (read.legacy, read.put, read.drop) == (False, {}, ("functions",))


def test_older_messages_alone_get_a_reply_of_today() -> None:
    old = {"role": "function", "name": "weather", "content": "rain"}
    read = read_chat(Fields({"messages": [old]}))

    assert not read.legacy
    assert read.put["messages"][0]["role"] == "tool"


def test_a_streamed_call_is_told_in_the_older_words() -> None:
    relay = ChatRelay(stream=True, include_usage=False, prompt=1, style=Style(legacy=True))
    deltas = [
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]
    told = []
    for delta in deltas:
        finish = None if delta else "tool_calls"
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        for data in relay.feed(0, Event(orjson.dumps({"choices": [choice]}))):
            told.append(orjson.loads(data.removeprefix(b"data: "))["choices"][0])

    assert [choice["delta"] for choice in told] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        {},
    ]
    assert told[-1]["finish_reason"] == "function_call"
