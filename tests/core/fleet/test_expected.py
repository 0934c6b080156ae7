"""What a call is expected to take, by what calls of its model took."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from modgate.fleet.expected import FEW, SHARE, Expected


def test_of_the_first_calls_it_is_the_mean_and_of_many_it_follows_the_newest() -> None:
    rng, expected = random.Random(1), Expected()
    first = [rng.randrange(1, 1000) for _ in range(FEW - 1)]
    for count in first:
        expected.learn({"llm.output_tokens": count})
    early = expected.counts["llm.output_tokens"]
    for _ in range(round(10 / SHARE)):
        expected.learn({"llm.output_tokens": 40})

    assert early == pytest.approx(fmean(first))
    assert expected.counts["llm.output_tokens"] == pytest.approx(40, rel=0.01)


def test_one_call_among_many_moves_it_little() -> None:
    expected = Expected()
    for _ in range(10 * FEW):
        expected.learn({"llm.output_tokens": 100})
    expected.learn({"llm.output_tokens": 10_000})

    assert expected.counts["llm.output_tokens"] < 400
