"""What is kept of an engine: its work in hand, and records of classes that are asked for."""

from __future__ import annotations

import random

import pytest

from modgate.api.select import Backend
from modgate.fleet.fleet import Fleet
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms


def backend(name: str) -> Backend:
    return Backend(name=name, family="home", url=f"http://{name}", serves={"m": "e"}, slots=9)


@pytest.mark.slow
def test_classes_of_a_file_that_is_reloaded_a_thousand_times_are_forgotten() -> None:
    state, at, sizes = FleetState(), [1000.0], []
    engines = [backend(name) for name in "abc"]
    for number in range(1000):
        one = Fleet(engines, state, groups={}, rng=random.Random(number), now=lambda: at[0])
        terms = Terms(slo=f"class-{number}", target_s=1.0)
        lease = one.at_once("m", Wanted(work=1.0, terms=terms))
        assert lease is not None
        at[0] += 0.5
        lease.give_back("ok")
        if number % 2:  # some break their promises, and are disqualified for good
            standing = state.standing_of("http://a", "e")
            standing.record_of(terms.slo, "total").leave(at[0])
            standing.trust(terms.slo, "total", trusted=False)
        at[0] += 9.5
        state.prune(engines, at[0])
        sizes.append(sum(len(each.records) for each in state.standings.values()))
        assert all(each.out <= each.records.keys() for each in state.standings.values())
    at[0] += 600.0
    state.prune(engines, at[0])

    assert 30 < max(sizes) == max(sizes[:100]) < 60
    assert not any(each.records or each.out for each in state.standings.values())


def test_a_class_that_is_asked_for_stays_as_it_stands() -> None:
    state = FleetState()
    standing = state.standing_of("http://a", "e")
    kept = standing.record_of("gold", "total")
    kept.judge(1000.0, predicted=0.5, ratio=2.0)
    kept.leave(1000.0)
    standing.trust("gold", "total", trusted=False)
    for now in (1001.0, 1599.0):
        state.prune([backend("a")], now)

        assert standing.records == {("gold", "total"): kept}
        assert standing.out == {("gold", "total")}


@pytest.mark.parametrize("terms", [None, Terms(slo="gold", target_s=9.0)])
def test_an_engine_has_in_hand_what_came_along_with_a_call_too(terms: Terms | None) -> None:
    made = Fleet([backend("a"), backend("b")], FleetState(), groups={})
    lease = made.at_once("m", Wanted(work=2.0, terms=terms))
    assert lease is not None
    standing = made.state.standing_of(f"http://{lease.backend.name}", "e")
    lease.carry(5.0)
    carried = standing.work
    lease.give_back("ok")

    assert (carried, standing.work) == (5.0, 0.0)
