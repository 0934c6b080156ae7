"""Chunks joined into the whole reply that they stand for."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modgate.errors import BadReply
from modgate.kit.chat_join import Joined
from modgate.plugin import Json, JsonObject


def chunk(delta: Json, *, index: int = 0, finish: str | None = None, **more: Json) -> JsonObject:
    choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


def joined(*chunks: JsonObject) -> JsonObject:
    made = Joined()
    for each in chunks:
        made.add(each)
    return made.reply()


def call(index: int, *, arguments: str, name: str | None = None, known: str | None = None) -> Json:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": known} if known else {})


def test_texts_grow_and_the_last_finish_stands() -> None:
    reply = joined(
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "so "}),
        chunk({"reasoning_content": "so"}),
        chunk({"content": "hel"}),
        chunk({"content": "lo"}),
        chunk({}, finish="stop"),
    )

    assert reply["object"] == "chat.completion"
    assert reply["choices"] == [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "hello", "reasoning_content": "so so"},
        }
    ]


def test_content_is_null_beside_calls_only() -> None:
    silent = chunk({"role": "assistant", "content": None})
    thinking = chunk({"reasoning_content": "so"}, index=1, finish="length")
    calling = chunk({"tool_calls": [call(0, known="a", name="f", arguments="{}")]}, index=2)
    reply = joined(silent, thinking, calling)

    assert [choice["message"]["content"] for choice in reply["choices"]] == ["", "", None]


def test_calls_are_joined_by_their_number() -> None:
    reply = joined(
        chunk({"tool_calls": [call(0, known="a", name="f", arguments="")]}),
        chunk({"tool_calls": [call(0, arguments="{")]}),
        chunk({"tool_calls": [call(1, known="b", name="g", arguments="[]")]}),
        chunk({"tool_calls": [call(0, arguments="}")]}, finish="tool_calls"),
    )

    assert reply["choices"][0]["message"]["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": "{}"}, "id": "a"},
        {"type": "function", "function": {"name": "g", "arguments": "[]"}, "id": "b"},
    ]


def test_choices_and_their_probabilities_are_kept_apart() -> None:
    reply = joined(
        chunk({"content": "b"}, index=1, logprobs={"content": [{"token": "b"}]}),
        chunk({"content": "a"}, index=0, logprobs={"content": [{"token": "a"}]}),
        chunk({"content": "a"}, index=0, logprobs={"content": [{"token": "a"}], "refusal": None}),
    )

    assert [choice["message"]["content"] for choice in reply["choices"]] == ["aa", "b"]
    assert reply["choices"][0]["logprobs"] == {
        "content": [{"token": "a"}, {"token": "a"}],
        "refusal": None,
    }


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"choices": None},
        {"choices": [1]},
        {"choices": [{"index": "0"}]},
        {"choices": [{"index": 0, "delta": "text"}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [1]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 9}]}}]},
    ],
    ids=str,
)
def test_what_is_no_chunk_is_a_bad_reply(chunk: JsonObject) -> None:
    with pytest.raises(BadReply):
        Joined().add(chunk)


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": "f"},
        {"tool_calls": ["f"]},
        {"tool_calls": [{"index": "0"}]},
        {"tool_calls": [{"index": [0]}]},
        {"tool_calls": [{"index": -1}]},
        {"tool_calls": [{"index": 9}]},
    ],
)
def test_calls_that_are_none_are_a_bad_reply(delta: JsonObject) -> None:
    with pytest.raises(BadReply):
        joined(chunk(delta))


STRANGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["id", "index", "function", "name", "x"]), inner, max_size=2
        )
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["content", "tool_calls", "role", "refusal", "x"])


@given(st.lists(st.dictionaries(NAMES, STRANGE, max_size=3), max_size=3), STRANGE, STRANGE)
def test_whatever_an_engine_says_is_a_reply_or_a_bad_one(
    deltas: list[JsonObject], logprobs: Json, named: Json
) -> None:
    chunks = [{**chunk(delta, logprobs=logprobs), "object": named} for delta in deltas]
    with suppress(BadReply):
        assert len(joined(*chunks, *chunks)["choices"]) <= 1
