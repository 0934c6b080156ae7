"""How deep a body may be nested.  Source: algorithms.md 9."""

from __future__ import annotations

import pytest

from modgate.api.body import Body
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
