"""Moderation: who wants it is not left to believe in it.

Source: openai-python 2.54, `moderation` of a chat: its policy may be to block.
"""

from __future__ import annotations

import orjson
import pytest

from modgate.kit.chat_dialect import ChatDialect
from modgate.plugin import Body, Call, Dialect, JsonObject, Served, Unsupported
from modgate_llm.dialects import LlmHome, LlmLlamaCpp, LlmOpenAi, LlmSglang, LlmVllm

WANTED: JsonObject = {"model": "omni-moderation-latest", "policy": {"input": {"mode": "block"}}}


def speaking(kind: type[Dialect], moderation: JsonObject | None) -> Dialect:
    asked = [{"role": "user", "content": "x"}]
    body = Body.of(model="chat", messages=asked, moderation=moderation)
    call = Call(path="/v1/chat/completions", body=body, reply="sse")
    return kind(call, Served(model="chat", name="m", asked="chat"))


class Plain(ChatDialect):
    """A family of somebody else's, which says no more of itself than that."""

    modality = "llm"
    family = "plain"
    moderates = False


@pytest.mark.parametrize("kind", [LlmVllm, LlmSglang, LlmLlamaCpp, Plain])
def test_it_is_refused_where_the_engine_would_leave_it_out_in_silence(kind: type[Dialect]) -> None:
    assert speaking(kind, None).encode().path == "/v1/chat/completions"
    with pytest.raises(Unsupported) as caught:
        speaking(kind, WANTED).encode()

    assert caught.value.field == "moderation"  # a backend of another family may be asked


@pytest.mark.parametrize("kind", [LlmHome, LlmOpenAi])
def test_it_goes_on_to_an_engine_that_may_do_it(kind: type[Dialect]) -> None:
    body = speaking(kind, WANTED).encode().body

    assert isinstance(body, Body)
    assert orjson.loads(body.members()["moderation"]) == WANTED
