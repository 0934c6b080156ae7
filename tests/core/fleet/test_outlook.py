"""Whether it is of any use to give an engine up: another one must be there to be asked."""

from __future__ import annotations

import pytest

from modgate.api.select import Backend
from modgate.fleet.fleet import Fleet
from modgate.fleet.outlook import answers_elsewhere
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState

NOW = 1000.0


@pytest.mark.parametrize(
    ("names", "wanted", "out", "elsewhere"),
    [
        ("a", Wanted(), "", False),
        ("ab", Wanted(), "", True),
        ("ab", Wanted(), "a", True),
        ("ab", Wanted(), "b", False),
        ("ab", Wanted(tried=frozenset("b")), "", False),
        ("ab", Wanted(tried=frozenset("ab")), "", False),
        ("abc", Wanted(tried=frozenset("b")), "", True),
        ("abc", Wanted(tried=frozenset("b")), "c", False),
        ("ab", Wanted(regions=frozenset({"here"})), "", False),
    ],
)
def test_a_call_is_answered_elsewhere_by_who_may_take_it_and_has_not_failed_it(
    names: str, wanted: Wanted, out: str, elsewhere: bool
) -> None:
    state = FleetState()
    backends = [
        Backend(
            name=name,
            family="home",
            url=f"http://{name}",
            serves={"m": "e"},
            region="here" if name == "a" else "there",
        )
        for name in names
    ]
    pool = Fleet(backends, state, groups={}, now=lambda: NOW).pools["m"]
    for name in out:
        state.health_of(f"http://{name}").eject(NOW, lambda: 0.5)

    assert answers_elsewhere(pool, wanted, "a", NOW) == elsewhere


def test_nobody_answers_for_a_model_that_nobody_serves() -> None:
    assert not answers_elsewhere(None, Wanted(), "a", NOW)
