"""A tool's call is begun once in a stream, whatever its engine says again with each piece."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from modgate.kit.chat_fan import FanRelay
from modgate.kit.chat_relay import ChatRelay
from modgate.plugin import Event, Json, JsonObject


def piece(index: Json, arguments: str, **begins: Json) -> JsonObject:
    name = begins.pop("name", None)
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"index": index, **begins, "function": function}


def relayed(*chunks: list[JsonObject], choice: int = 0) -> Iterator[list[JsonObject]]:
    relay = ChatRelay(stream=True, include_usage=False, prompt=7)
    for calls in chunks:
        delta = {"index": choice, "delta": {"tool_calls": calls}, "finish_reason": None}
        [data] = relay.feed(0, Event(orjson.dumps({"id": "chatcmpl-1", "choices": [delta]})))
        value = orjson.loads(data.removeprefix(b"data: "))
        assert value["id"] == "chatcmpl-1"
        yield value["choices"][0]["delta"]["tool_calls"]


BEGUN = {"id": "call_a", "type": "function", "name": "look"}


@pytest.mark.parametrize("first", ["", '{"ci'])
def test_what_begins_a_call_is_said_once(first: str) -> None:
    texts = (first, "ty", '":"Par', 'is"', "}")
    told = list(relayed(*([piece(0, text, **BEGUN)] for text in texts)))

    assert told[0] == [piece(0, first, **BEGUN)]
    assert told[1:] == [[piece(0, text)] for text in texts[1:]]


def test_what_a_call_says_of_itself_only_later_is_said_then() -> None:
    told = list(
        relayed(
            [piece(0, "", id="call_a")],
            [piece(0, "{", id="call_a", name="look")],
            [piece(0, "}", **BEGUN)],
            [piece(0, " ", **BEGUN)],
        )
    )

    assert told == [
        [piece(0, "", id="call_a")],
        [piece(0, "{", name="look")],
        [piece(0, "}", type="function")],
        [piece(0, " ")],
    ]


@pytest.mark.parametrize(
    "said", [b'"tool_calls":null', b'"tool_calls":[]', b'"tool_calls":[{"index":0,"function":{}}]']
)
def test_a_chunk_that_names_no_call_is_not_decoded(said: bytes) -> None:
    """SGLang says null in each; and what is no JSON to the letter (NaN) is the client's to read."""
    relay = ChatRelay(stream=True, include_usage=False, prompt=7)
    data = b'{"id":"a","choices":[{"index":0,"delta":{%s},"logprobs":{"of":NaN}}]}' % said

    assert list(relay.feed(0, Event(data))) == [b"data: " + data + b"\n\n"]


def test_choices_of_several_calls_each_begin_theirs() -> None:
    relay, told = FanRelay(stream=True, include_usage=False, prompt=7, each=2), []
    for index, text in ((0, "{"), (0, "}"), (1, "{"), (1, "}")):
        delta = {"index": 0, "delta": {"tool_calls": [piece(0, text, **BEGUN)]}}
        [data] = relay.feed(index, Event(orjson.dumps({"choices": [delta]})))
        [choice] = orjson.loads(data.removeprefix(b"data: "))["choices"]
        told.append((choice["index"], choice["delta"]["tool_calls"]))

    assert told == [
        (0, [piece(0, "{", **BEGUN)]),
        (0, [piece(0, "}")]),
        (1, [piece(0, "{", **BEGUN)]),
        (1, [piece(0, "}")]),
    ]


def test_each_call_has_a_beginning() -> None:
    other = {"id": "call_b", "type": "function", "name": "say"}
    told = list(
        relayed(
            [piece(0, "{", **BEGUN), piece(1, "{", **other)],
            [piece(0, "}", **BEGUN)],
            [piece(1, "}", **other)],
            [piece(0, "{}", **other)],
        )
    )

    assert told[0] == [piece(0, "{", **BEGUN), piece(1, "{", **other)]
    assert told[1:3] == [[piece(0, "}")], [piece(1, "}")]]
    assert told[3] == [piece(0, "{}", **other)]


@pytest.mark.parametrize("odd", [{"id": None}, {"id": {}}, {"id": 0}, {"id": ""}, {}])
def test_what_names_no_call_is_left_as_it_is(odd: JsonObject) -> None:
    said = [piece(0, "a", **odd), piece(None, "b", id="call_a")]

    assert list(relayed(said, said)) == [said, said]
