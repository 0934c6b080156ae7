"""What a plugin's batching does wrong: whose fault it is, and that no slot is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from rigs.batching import Answered, Engine, Traffic, vector
from rigs.virtual import run

from modgate.api.plan import Call
from modgate.api.relay import Event
from modgate.errors import PluginFault

BAD = "bad"
Got = tuple[list[list[float]], int] | BaseException


def asked(*texts: str, **methods: object) -> list[Got]:
    """Requests of one text each before an engine of one slot; what each gets.

    `methods`: what stands in for one of the plugin's, given that.
    """

    async def main() -> list[Got]:
        traffic = Traffic(Engine(lambda texts: Answered()), slots=1)
        for name, made in methods.items():
            assert callable(made)
            object.__setattr__(traffic.batch, name, made(getattr(traffic.batch, name)))
        each = (traffic.ask(text) for text in texts)
        got = await asyncio.gather(*each, return_exceptions=True)
        assert traffic.idle()
        return got

    return run(main())


@pytest.mark.parametrize(
    ("what", "answer"),
    [("key", lambda call: []), ("count", lambda call: 1 // 0), ("count", lambda call: None)],
)
def test_a_fault_of_one_call_is_its_own_and_keeps_no_slot(
    what: str, answer: Callable[[Call], object]
) -> None:
    def made(was: Callable[[Call], object]) -> Callable[[Call], object]:
        return lambda call: (
            answer(call) if b"bad" in bytes(call.body.members()["input"]) else was(call)
        )

    got = asked("a", "b", BAD, "c", **{what: made})
    fault = got.pop(2)

    assert isinstance(fault, PluginFault)
    assert [each[0] for each in got if isinstance(each, tuple)] == [[vector(t)] for t in "abc"]


@pytest.mark.parametrize("many", [-1, 1])
def test_of_too_few_or_too_many_replies_nobody_is_given_one(many: int) -> None:
    def made(
        split: Callable[[Sequence[Call], Event], Sequence[Event]],
    ) -> Callable[[Sequence[Call], Event], Sequence[Event]]:
        return lambda calls, event: [*split(calls, event), event][: len(calls) + many]

    got = asked("a", "b", "c", "d", split=made)

    assert isinstance(got[0], tuple)
    assert [type(each) for each in got[1:]] == [PluginFault] * 3
