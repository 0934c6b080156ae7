"""What outlives a reload, and for how long."""

from __future__ import annotations

import asyncio

from modgate.api.select import Backend
from modgate.fleet.claim import Claim
from modgate.fleet.fleet import Fleet
from modgate.fleet.pick import Wanted
from modgate.fleet.state import UNSERVED_KEPT_S, FleetState

BACKEND = Backend(name="a", family="home", url="http://a", serves={"m": "e"}, slots=1)


def test_how_an_engine_stood_for_a_model_that_it_serves_no_more_is_forgotten() -> None:
    state = FleetState()
    kept, busy = state.standing_of("http://a", "e"), state.standing_of("http://a", "old")
    state.standing_of("http://a", "older")
    busy.work = 1.0
    for now in (0.0, UNSERVED_KEPT_S - 1):
        state.prune([BACKEND], now)
        assert len(state.standings) == 3
    state.prune([BACKEND], UNSERVED_KEPT_S)
    assert set(state.standings) == {("http://a", "e"), ("http://a", "old")}
    busy.work = 0.0
    state.prune([BACKEND], UNSERVED_KEPT_S + 2)

    assert state.standings == {("http://a", "e"): kept}


def test_what_is_known_of_a_model_that_is_named_no_more_is_forgotten() -> None:
    state = FleetState()
    for model in ("m", "old", "renamed"):
        state.learn(model, {"output_tokens": 9})
        state.retries_of(model).earn(0.0)
        state.line_of(model)
    state.busy["renamed"] = state.lines["renamed"]  # somebody still waits
    for now in (0.0, UNSERVED_KEPT_S - 1):
        state.forget_models({"m"}, now)
        assert set(state.expected) == {"m", "old", "renamed"}
    state.forget_models({"m"}, UNSERVED_KEPT_S)
    assert set(state.lines) == {"m", "renamed"}
    state.busy.clear()
    state.forget_models({"m"}, UNSERVED_KEPT_S + 2)

    assert set(state.expected) == set(state.lines) == set(state.retries) == {"m"}


async def test_a_call_of_a_model_that_was_forgotten_meanwhile_still_waits() -> None:
    state = FleetState()
    one = Fleet([BACKEND], state, groups={})
    taken = one.at_once("m", Wanted())
    assert taken is not None
    for now in (0.0, UNSERVED_KEPT_S):
        state.forget_models(set(), now)
    task = asyncio.ensure_future(one.wait("m", Wanted(), Claim()))
    await asyncio.sleep(0)
    taken.give_back()

    assert await task is not None


def test_a_model_that_is_named_again_in_time_is_known() -> None:
    state = FleetState()
    line = state.line_of("m")
    for now, named in ((0.0, set[str]()), (UNSERVED_KEPT_S - 1, {"m"}), (UNSERVED_KEPT_S, set())):
        state.forget_models(named, now)

    assert state.line_of("m") is line
