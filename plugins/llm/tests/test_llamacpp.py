"""What llama.cpp's server tells of its tokens, choice by choice."""

from __future__ import annotations

import orjson

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
