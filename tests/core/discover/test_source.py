"""A discoverer at work, and one that gives nobody else a turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
from pydantic import BaseModel

from modgate.api.discover import (
    ConfiguredDiscoverer,
    Discoverer,
    Finding,
    Found,
    Instance,
    Lost,
    Number,
    Pause,
)
from modgate.api.select import Backend
from modgate.clock import SystemClock
from modgate.discover.source import Source
from modgate.upstream.world import World

TEMPLATE = Backend(name="pods", family="vllm", url="", serves={"m": "e"})
ONE = Instance(uid="1", url="http://a")


class Nothing(BaseModel, frozen=True):
    pass


class Restless(Discoverer[Nothing]):
    """Finds its engine again and again, and waits for nothing."""

    name = "restless"
    config_type = Nothing

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        while True:
            yield Found(instances=[ONE])


class Quitting(Restless):
    """Ends the process, were it allowed to."""

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        yield Found(instances=[ONE])
        raise SystemExit(3)


class Clinging(Restless):
    """Does not let go when it is told to, the first time."""

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        with suppress(GeneratorExit):
            yield Pause(for_s=60)
        yield Pause(for_s=60)


class Hasty(Restless):
    """Waits, but for no time."""

    turns = 0

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        while True:
            yield Found(instances=[ONE])
            yield Lost(reason="as before")
            yield Pause(for_s=0)
            type(self).turns += 1


async def run(kind: Callable[[Nothing], Restless], for_s: float) -> Source:
    clock = SystemClock()
    look = ConfiguredDiscoverer(name="pods", kind="x", config=Nothing(), template=TEMPLATE)
    source = Source(look, lambda: kind(Nothing()), World(), clock, lambda: None)
    source.start()
    await asyncio.sleep(for_s)
    await source.close()
    return source


@pytest.mark.parametrize("kind", [Restless, Quitting])
async def test_one_that_breaks_or_never_waits_is_broken_and_its_engines_stay(
    caplog: pytest.LogCaptureFixture, kind: type[Restless]
) -> None:
    with caplog.at_level(logging.ERROR):
        source = await run(kind, 0.05)

    assert list(source.instances) == [ONE]
    assert "discoverer broke" in [record.getMessage() for record in caplog.records]


async def test_one_that_does_not_let_go_is_stopped_all_the_same() -> None:
    async with asyncio.timeout(5):
        source = await run(Clinging, 0.05)

    assert source._task is None or source._task.done()


async def test_a_pause_of_nothing_is_a_short_one() -> None:
    await run(Hasty, 0.2)

    assert 2 <= Hasty.turns <= 25


@pytest.mark.parametrize("for_s", [nan, inf, -inf])
def test_a_pause_is_a_number_of_seconds(for_s: float) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        Pause(for_s=for_s)


@pytest.mark.parametrize(
    "wrong",
    [{"uid": 5}, {"url": None}, {"region": 5}, {"slots": "x"}, {"serves": 5}, {"serves": {"m": 5}}],
)
def test_an_engine_of_other_types_is_none(wrong: dict[str, Any]) -> None:
    """It is found out where it is made: each reload reads what was found."""
    with pytest.raises((TypeError, AttributeError)):
        replace(ONE, **wrong)


def test_what_is_found_are_instances() -> None:
    junk: Any = ["http://a"]

    with pytest.raises(TypeError, match="an Instance, no str"):
        Found(instances=junk)
