"""Which calls are held for an engine that a discoverer may find."""

from __future__ import annotations

import pytest

from modgate.api.select import Backend
from modgate.fleet.claim import QueueRules
from modgate.fleet.holding import Awaited, Holding
from modgate.fleet.pick import Wanted

TEMPLATE = Backend(
    name="found",
    family="home",
    url="http://found",
    serves={"m": "e"},
    region="eu",
    offers={"voice": frozenset({"amy"})},
)


@pytest.mark.parametrize(
    ("model", "wanted", "roams", "awaited"),
    [
        ("m", Wanted(), False, True),
        ("other", Wanted(), False, False),
        ("m", Wanted(regions=frozenset({"eu"})), False, True),
        ("m", Wanted(regions=frozenset({"us"})), False, False),
        ("m", Wanted(regions=frozenset({"us"})), True, True),  # it may say that it stands there
        ("m", Wanted(requires=(("voice", "amy"),)), False, True),
        ("m", Wanted(requires=(("voice", "joe"),)), False, False),
        ("m", Wanted(requires=(("language", "de"),)), False, True),  # of which nothing is said
    ],
)
def test_an_engine_is_awaited_by_calls_that_it_could_take(
    model: str, wanted: Wanted, roams: bool, awaited: bool
) -> None:
    holding = Holding([Awaited(TEMPLATE, roams)], QueueRules(hold_s=1.0))

    assert holding.awaits(model, wanted) == awaited
