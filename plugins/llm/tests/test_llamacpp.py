"""What llama.cpp's server tells of its tokens, choice by choice."""

from __future__ import annotations

from typing import Literal

import orjson
import pytest

from modgate.plugin import Body, Call, Event, JsonObject, Served
from modgate_llm.dialects import LlmLlamaCpp


def ended(index: int, *, read: int, cached: int, wrote: int) -> Event:
    """The last event of a choice."""
    details: JsonObject = {"cached_tokens": cached}
    usage: JsonObject = {"prompt_tokens": read, "completion_tokens": wrote}
    usage |= {"total_tokens": read + wrote, "prompt_tokens_details": details}
    choice: JsonObject = {"index": index, "text": "", "finish_reason": "length"}
    return Event(orjson.dumps({"choices": [choice], "usage": usage}))


def test_each_prompt_is_read_once_whichever_of_its_choices_ends_first() -> None:
    body = Body.of(model="m", prompt=["a b", "c d e f g"], n=2)
    call = Call(path="/v1/completions", body=body, reply="sse")
    dialect = LlmLlamaCpp(call, Served(asked="m", model="m", name="e"))
    for event in (
        ended(2, read=5, cached=4, wrote=3),
        ended(0, read=2, cached=0, wrote=1),
        ended(1, read=2, cached=1, wrote=1),
        ended(3, read=5, cached=0, wrote=2),
    ):
        list(dialect.decode(event))
    [last] = dialect.end(True)

    assert last.fields().values["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 7,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


def chunk(
    *, index: int | None = None, finish: str | None = None, wrote: int | None = None
) -> Event:
    """An event of a chat: of a choice, or of none, and what was written by then."""
    delta: JsonObject = {"content": "a"} if finish is None else {}
    choice: JsonObject = {"index": index, "delta": delta, "finish_reason": finish}
    usage: JsonObject = {"prompt_tokens": 7, "completion_tokens": wrote, "total_tokens": 0}
    told: JsonObject = {} if wrote is None else {"usage": usage}
    return Event(orjson.dumps({"choices": [] if index is None else [choice], **told}))


@pytest.mark.parametrize("reply", ["sse", "whole"])
@pytest.mark.parametrize("each", [True, False])
def test_of_a_choice_its_last_word_counts_however_often_it_tells(
    reply: Literal["sse", "whole"], each: bool
) -> None:
    """In each chunk, or in the last of a choice and once more behind it."""
    body = Body.of(model="m", messages=[], n=2)
    call = Call(path="/v1/chat/completions", body=body, reply=reply)
    dialect = LlmLlamaCpp(call, Served(asked="m", model="m", name="e"))
    for index, most in ((1, 3), (0, 2)):
        for wrote in range(1, most + 1):
            list(dialect.decode(chunk(index=index, wrote=wrote if each else None)))
        list(dialect.decode(chunk(index=index, finish="stop", wrote=None if each else most)))
        list(dialect.decode(chunk(wrote=most)))
    [last] = dialect.end(True)
    usage = last.fields().values["usage"]

    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 5)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("reply", ["sse", "whole"])
def test_the_numbers_of_tokens_are_the_engines_own(
    reply: Literal["sse", "whole"], raw: bool
) -> None:
    told: JsonObject = {"token": "a", "bytes": [97], "logprob": -0.5}
    numbered: JsonObject = {"id": 5, **told}
    choice: JsonObject = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
    choice["logprobs"] = {"content": [{**numbered, "top_logprobs": [numbered]}]}
    call = Call(path="/v1/chat/completions", body=Body.of(messages=[]), reply=reply, raw=raw)
    dialect = LlmLlamaCpp(call, Served(asked="m", model="m", name="e"))
    events = [
        *dialect.decode(Event(orjson.dumps({"choices": [choice]}))),
        *dialect.decode(chunk(index=0, finish="stop")),
        *dialect.end(True),
    ]
    [entry] = events[0].fields().values["choices"][0]["logprobs"]["content"]

    assert entry == {**(numbered if raw else told), "top_logprobs": [numbered if raw else told]}
