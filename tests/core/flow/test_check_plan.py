"""Answers of `shape` that nothing can be made of, and what its author reads of them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest

from modgate.bill import _reserve_of
from modgate.drawing import Drawing
from modgate.errors import PluginFault
from modgate.needs import check_plan, shape
from modgate.plugin import Ask, Body, Call, Endpoint, Event, Outcome, Plan, Relay, Units, Usage

CALL = Call(path="/words", body=Body.of(), size=Units(words=1))


class Silent(Relay):
    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        return ()

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units())


GOOD = Plan(calls=[CALL], relay=Silent())
UNSIZED: Any = {"words": 1}
UNREAD: Any = b"{}"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"reserve": 5}, "the reserve of a Plan is Units, and not int"),
        ({"ahead": "2"}, "ahead of a Plan"),
        ({"ahead": 0}, "ahead of a Plan"),
        ({"width": True}, "width of a Plan"),
        ({"relay": None}, "no Relay with a Head"),
        ({"relay": Silent}, "no Relay with a Head"),
        ({"calls": None}, "the calls of a Plan are NoneType, and no iterable"),
        ({"calls": ["/words"]}, "a plan drew str, and no Call"),
        ({"calls": [replace(CALL, size=UNSIZED)]}, "the size of a Call is Units, and not dict"),
        ({"calls": [replace(CALL, reply=UNREAD)]}, "the reply of a Call is whole, sse or chunked"),
        ({"calls": (CALL, replace(CALL, body=UNREAD))}, "the body of a Call is a Body, and not"),
    ],
)
def test_a_plan_that_does_not_fit_is_told_in_words(wrong: dict[str, Any], told: str) -> None:
    assert check_plan(GOOD) is GOOD

    with pytest.raises(PluginFault, match=told):
        check_plan(replace(GOOD, **wrong))


@pytest.mark.parametrize("drawn", ["/words", None, replace(CALL, size=UNSIZED)])
def test_a_call_that_is_drawn_late_is_looked_at_when_it_comes(drawn: Any) -> None:
    drawing = Drawing([CALL, drawn], lambda drawn, ahead: pytest.fail("no process draws"), 2)

    assert asyncio.run(drawing.next()) is CALL
    with pytest.raises(PluginFault, match=r"no Call|the size of a Call"):
        asyncio.run(drawing.next())


NO_NEEDS: dict[str, Any] = {
    "shape yielded str, and no Need": "please",
    "the calls of an Ask are a list or a tuple, and not repeat": Ask(repeat(CALL)),  # type: ignore[arg-type]  # it is the fault
    "a plan drew str, and no Call": Ask(["/words"]),  # type: ignore[list-item]  # it is the fault
}


@pytest.mark.parametrize("told", NO_NEEDS)
def test_what_is_no_need_is_told_by_its_type(told: str) -> None:
    def own_shape(request: object) -> Generator[Any, Any, Plan]:
        yield NO_NEEDS[told]
        return GOOD

    def unasked(*args: object) -> Any:
        raise AssertionError("nothing is asked")

    endpoint, request = Endpoint(path="/v1/words", shape=own_shape), object()
    more: Any = (request, unasked, lambda step, began: None)
    with pytest.raises(PluginFault, match=told):
        asyncio.run(shape(endpoint, *more))


def test_a_plan_reserves_what_it_says_or_else_the_sum_of_its_calls() -> None:
    calls = [replace(CALL, size=Units(words=n)) for n in (1, 2, 4)]

    assert _reserve_of(replace(GOOD, calls=calls)) == Units(words=7)
    assert _reserve_of(replace(GOOD, calls=calls, reserve=Units(words=3))) == Units(words=3)
    assert not _reserve_of(replace(GOOD, calls=[]))
    with pytest.raises(PluginFault, match="must give its reserve"):
        _reserve_of(replace(GOOD, calls=iter(calls)))
