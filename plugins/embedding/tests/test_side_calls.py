"""What a policy that asks a model of this modality is billed."""

from __future__ import annotations

import pytest

from modgate.plugin import BadReply, Body, Call, Event, Units
from modgate_embedding.config import Config
from modgate_embedding.modality import Embedding

CALL = Call(
    path="/v1/embeddings", body=Body.of(input=["a b"]), size=Units(inputs=1, input_tokens=1)
)
ROWS = b'"data":[{"index":0,"embedding":[1,0]}]'


@pytest.mark.parametrize(
    ("reply", "tokens", "by"),
    [
        (b'{%b,"usage":{"prompt_tokens":5}}' % ROWS, 5, "engine"),
        (b'{%b,"usage":{"prompt_tokens":5,"apportioned":true}}' % ROWS, 5, "estimate"),
        (b"{%b}" % ROWS, 1, "estimate"),
    ],
)
def test_a_side_call_costs_the_tokens_that_its_engine_says_it_read(
    reply: bytes, tokens: int, by: str
) -> None:
    usage = Embedding(Config()).count(CALL, Event(reply))

    assert dict(usage.units) == {"inputs": 1, "input_tokens": tokens}
    assert (usage.exact, usage.by) == (by == "engine", by)


def test_a_side_call_without_vectors_is_its_engines_fault() -> None:
    with pytest.raises(BadReply):
        Embedding(Config()).count(CALL, Event(b'{"usage":{"prompt_tokens":5}}'))
