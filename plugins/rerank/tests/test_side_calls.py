"""What a policy that asks a model of this modality is billed."""

from __future__ import annotations

import pytest

from modgate.plugin import Body, Call, Event, Units
from modgate_rerank.config import Config
from modgate_rerank.modality import Rerank

SIZE = Units(documents=1, input_tokens=2, search_units=1)
ROWS = b'"results":[{"index":0,"relevance_score":0.5}]'


@pytest.mark.parametrize(
    ("reply", "tokens", "by"),
    [
        (b'{%b,"meta":{"tokens":{"input_tokens":7}}}' % ROWS, 7, "engine"),
        (b'{%b,"usage":{"total_tokens":7,"apportioned":true}}' % ROWS, 7, "estimate"),
        (b"{%b}" % ROWS, 2, "estimate"),
    ],
)
def test_a_side_call_costs_the_tokens_that_its_engine_says_it_read(
    reply: bytes, tokens: int, by: str
) -> None:
    call = Call(path="/v2/rerank", body=Body.of(query="q", documents=["d"]), size=SIZE)
    usage = Rerank(Config()).count(call, Event(reply))

    assert dict(usage.units) == {"documents": 1, "input_tokens": tokens, "search_units": 1}
    assert (usage.exact, usage.by) == (by == "engine", by)
