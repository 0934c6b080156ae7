"""A model whose engines are of several families, of which one cannot say a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from rigs.batching import Answered, Engine, Traffic
from rigs.virtual import run

from modgate.api.dialect import Outgoing
from modgate.errors import GatewayError, Refused, Unsupported, UpstreamFailed
from modgate_embedding.dialects import EmbeddingHome


def good(texts: Sequence[str]) -> Answered:
    return Answered()


def broken(texts: Sequence[str]) -> Answered:
    return Answered(status=500)


def lost(texts: Sequence[str]) -> Answered:
    return Answered(lost=True)


def mute(*backends: str) -> type[EmbeddingHome]:
    """A dialect that can say nothing to these."""

    class Mute(EmbeddingHome):
        def encode(self) -> Outgoing:
            if self.served.name in backends:
                raise Unsupported("'input': not to this one", "input")
            return super().encode()

    return Mute


async def asked(traffic: Traffic, times: int) -> list[object]:
    """What as many requests get, each after the other."""
    got: list[object] = []
    for number in range(times):
        try:
            got.append((await traffic.ask(f"text {number}"))[1])
        except GatewayError as error:
            got.append(type(error))
    assert traffic.idle()
    return got


@pytest.mark.parametrize("mutes", [("b0",), ("b1",), ("b0", "b2")])
def test_what_one_family_cannot_say_goes_to_another(mutes: tuple[str, ...]) -> None:
    engines = [Engine(good) for _ in range(3)]

    got = run(asked(Traffic(*engines, dialect=mute(*mutes)), 12))

    assert Refused not in got
    assert [engines[int(name[1:])].calls for name in mutes] == [[] for _ in mutes]
    assert sum(len(engine.calls) for engine in engines) == 12


@pytest.mark.parametrize("fault", [broken, lost])
def test_an_engine_that_fails_is_not_hidden_behind_one_that_cannot_be_asked(
    fault: Callable[[Sequence[str]], Answered],
) -> None:
    engines = Engine(fault), Engine(good)

    got = run(asked(Traffic(*engines, dialect=mute("b1")), 8))

    assert got == [UpstreamFailed] * 8
    assert engines[1].calls == []


def test_what_no_family_can_say_is_refused() -> None:
    engines = Engine(good), Engine(good)

    got = run(asked(Traffic(*engines, dialect=mute("b0", "b1")), 8))

    assert got == [Refused] * 8


def test_a_family_is_asked_once_however_many_backends_it_has() -> None:
    async def main() -> None:
        engines = Engine(good), Engine(good), Engine(good)
        traffic = Traffic(*engines, dialect=mute("e"), served="e")
        trip = traffic.trip("text")
        with pytest.raises(Refused):
            await trip.next()
        trip.close()
        assert len(trip.order.draft.tries) == 1
        assert traffic.idle()

    run(main())


def test_a_trip_that_cannot_be_said_here_goes_elsewhere_as_a_whole() -> None:
    engines = Engine(good), Engine(good)

    async def main() -> list[object]:
        traffic = Traffic(*engines, slots=1, dialect=mute("b0"))
        got = await asyncio.gather(*(traffic.ask(f"text {n}") for n in range(9)))
        assert traffic.idle()
        return [*got]

    assert len(run(main())) == 9
    assert engines[0].calls == []


def test_a_side_call_that_nobody_can_say_is_told_to_who_asked() -> None:
    async def main() -> None:
        traffic = Traffic(Engine(good), Engine(good), dialect=mute("b0", "b1"))
        trip = traffic.trip("text")
        trip.order.index = -1
        with pytest.raises(Unsupported):
            await trip.next()
        trip.close()
        assert traffic.idle()

    run(main())
