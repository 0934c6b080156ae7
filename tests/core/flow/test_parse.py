"""How deep a body may be nested.  Source: algorithms.md 9."""

from __future__ import annotations

from itertools import cycle, islice

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modgate import table
from modgate.api.body import Body
from modgate.api.json import Json
from modgate.errors import Refused
from modgate.table import DEPTH_AT_MOST, parse

WIDE = '"a":[[],{},[1,{}],"[[[["],' * 20


def nested(depth: int, front: str, end: str) -> Body:
    """A body of `depth` levels in all, among others."""
    inside = front * (depth - 1) + "0" + end * (depth - 1)
    return Body.json(f'{{{WIDE}"deep":{inside}}}'.encode())


@pytest.mark.parametrize(("front", "end"), [("[", "]"), ('{"x":', "}")])
def test_a_body_has_so_many_levels_and_no_more(front: str, end: str) -> None:
    parse(nested(DEPTH_AT_MOST, front, end))

    with pytest.raises(Refused) as caught:
        parse(nested(DEPTH_AT_MOST + 1, front, end))

    assert caught.value.code == "invalid_value"


def test_brackets_in_texts_are_no_levels() -> None:
    assert parse(Body.json(b'{"text":"' + b"[{" * 1000 + b'"}'))


def levels(value: Json) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(levels, value), default=0) if isinstance(value, list) else 0


TEXTS = st.text('[]{}",:\\ ', max_size=4)
TURNS = st.lists(st.tuples(st.sampled_from("[{"), TEXTS), min_size=1, max_size=4)


@given(TURNS, st.integers(60, 66), st.sampled_from([0, orjson.OPT_INDENT_2]))
@example([("[", "]")], DEPTH_AT_MOST, 0)
@example([("{", "},{")], DEPTH_AT_MOST, 0)
def test_a_body_is_refused_for_its_levels_and_for_nothing_else(
    turns: list[tuple[str, str]], depth: int, option: int
) -> None:
    deep: Json = 0
    for opens, text in islice(cycle(turns), depth):
        deep = [text, deep, text, [7]] if opens == "[" else {f"{text}a": text, text: deep}
    body: Json = {"deep": deep}
    content = Body.json(orjson.dumps(body, option=option))

    if levels(body) > DEPTH_AT_MOST:
        with pytest.raises(Refused):
            parse(content)
    else:
        assert parse(content) == body


@pytest.mark.parametrize("row", [[1, 2], ["a]", "b"], {"text": "]", "n": 1}])
def test_many_rows_are_not_walked(monkeypatch: pytest.MonkeyPatch, row: Json) -> None:
    """A walk through 2,000 rows of 500 tokens takes half as long as their parser."""
    monkeypatch.setattr(table, "_is_deep", lambda _: pytest.fail("it was walked"))

    parse(Body.json(orjson.dumps({"model": "m", "input": [row] * 1000})))
