"""A tool's call is begun once in a stream, whatever its engine says again with each piece."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from modgate.kit.chat_fan import FanRelay
from modgate.kit.chat_relay import ChatRelay
from modgate.plugin import Event, Json, JsonObject, Outcome


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


@pytest.mark.parametrize("odd", [{"id": None}, {"id": ""}, {"id": 0}, {}])
def test_a_call_without_an_id_gets_one_when_it_begins(odd: JsonObject) -> None:
    first, *rest = relayed(
        [piece(0, "", name="look", **odd), piece(1, "", name="look", **odd)],
        [piece(0, "{", name="look", **odd)],
        [piece(1, "{", **odd)],
    )

    ids = {call["id"] for call in first}
    assert len(ids) == 2
    assert all(each.startswith("call_") for each in ids)
    assert rest == [[piece(0, "{", **odd)], [piece(1, "{", **odd)]]


def test_a_call_has_one_id() -> None:
    ours = list(relayed([piece(0, "", name="look")], [piece(0, "{", id="call_a")]))
    engines = list(relayed([piece(0, "", **BEGUN)], [piece(0, "{", name="look")]))

    assert ours[0][0]["id"] != "call_a"
    assert ours[1] == [piece(0, "{")]
    assert engines[1] == [piece(0, "{")]


@pytest.mark.parametrize("begun", [{"id": "call_a"}, {}])
@pytest.mark.parametrize("again", [{"id": "call_a"}, {"id": None}, {}])
@pytest.mark.parametrize("names", [("look", "look", "look"), ("lo", "ok", None)])
def test_a_name_is_whole_whether_it_is_said_again_or_goes_on(
    begun: JsonObject, again: JsonObject, names: tuple[str | None, ...]
) -> None:
    each = (begun, again, again)
    told = relayed(
        *([piece(0, "{", name=name, **ids)] for name, ids in zip(names, each, strict=True))
    )
    said = [call["function"].get("name", "") for [call] in told]

    assert "".join(said) == "look"


@pytest.mark.parametrize(
    "relay",
    [
        ChatRelay(stream=False, include_usage=False, prompt=7),
        FanRelay(stream=False, include_usage=False, prompt=7, each=1),
    ],
)
def test_calls_of_a_whole_reply_have_ids(relay: ChatRelay | FanRelay) -> None:
    calls: list[JsonObject] = [
        {"id": said, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        for said in ("call_a", "", None)
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    choice = {"index": 0, "message": {"tool_calls": calls}, "finish_reason": "tool_calls"}
    said = relay.feed(0, Event(orjson.dumps({"choices": [choice], "usage": usage})))
    [data] = (*said, *relay.close([Outcome(state="ok")]))

    told = orjson.loads(data)["choices"][0]["message"]["tool_calls"]
    assert told[0] == calls[0]
    assert len({call["id"] for call in told}) == 3
    assert all(call["id"].startswith("call_") for call in told)


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
