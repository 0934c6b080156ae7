"""What a policy that asks a model of this modality is billed."""

from __future__ import annotations

import orjson
import pytest

from modgate.plugin import BadReply, Body, Call, Event, Json, Units
from modgate_llm.config import Config
from modgate_llm.modality import Llm

CHAT = Call(
    path="/v1/chat/completions",
    body=Body.of(messages=[{"role": "user", "content": "is this fine?"}]),
    size=Units(input_tokens=9, output_tokens=100),
)
SAID: Json = [{"index": 0, "message": {"role": "assistant", "content": "it is fine"}}]


def reply(**more: Json) -> Event:
    return Event(orjson.dumps({"choices": SAID, **more}))


def test_a_side_chat_costs_what_its_engine_says() -> None:
    usage = Llm(Config()).count(CHAT, reply(usage={"prompt_tokens": 12, "completion_tokens": 4}))

    assert dict(usage.units) == {"input_tokens": 12, "output_tokens": 4}
    assert (usage.exact, usage.by) == (True, "engine")


def test_a_side_chat_of_an_engine_that_counts_nothing_is_an_estimate() -> None:
    usage = Llm(Config()).count(CHAT, reply())

    assert dict(usage.units) == {"input_tokens": 9, "output_tokens": 4}
    assert (usage.exact, usage.by) == (False, "estimate")


def test_a_side_chat_without_a_reply_is_its_engines_fault() -> None:
    with pytest.raises(BadReply):
        Llm(Config()).count(CHAT, Event(b'{"choices": 3}'))


def test_counting_a_prompt_costs_nothing() -> None:
    call = Call(path="/tokenize", body=Body.of(prompt="a"))
    usage = Llm(Config()).count(call, Event(b'{"count": 7}'))

    assert (dict(usage.units), usage.exact) == ({}, True)
