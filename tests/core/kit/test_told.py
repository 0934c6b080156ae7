"""What is a count of tokens, and what is none."""

from __future__ import annotations

import pytest

from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.kit.told import told
from modgate.plugin import Json


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (0, 0),
        (9.0, 9),
        (TOKENS_AT_MOST, TOKENS_AT_MOST),
        (TOKENS_AT_MOST + 1, None),
        (-1, None),
        (0.5, None),
        (float("inf"), None),
        (True, None),
        ("9", None),
        (None, None),
        ([9], None),
    ],
)
def test_a_count_is_a_whole_number_that_an_engine_may_have_read(
    said: Json, count: int | None
) -> None:
    assert told(said) == count
    assert told({"usage": {"tokens": said}}, "usage", "tokens") == count


@pytest.mark.parametrize("reply", [{}, {"usage": None}, {"usage": [7]}, {"usage": 7}, 7, None])
def test_where_nothing_is_nothing_is_told(reply: Json) -> None:
    assert told(reply, "usage", "tokens") is None
