"""Preferences, and what calls are expected to take."""

from __future__ import annotations

import pytest

from modgate.api.body import Body
from modgate.api.plan import Call, ReplyKind
from modgate.api.select import Backend, Target
from modgate.fleet.drain import drain_s
from modgate.fleet.expected import Expected
from modgate.fleet.fleet import Fleet
from modgate.fleet.preferences import Preferences
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms
from modgate.goals import Goals
from modgate.units import Units
from modgate_embedding.config import Config as Embeds
from modgate_embedding.modality import Embedding
from modgate_llm.config import Config
from modgate_llm.modality import Llm


def backend(name: str, region: str = "eu", hardware: str = "h200") -> Backend:
    return Backend(
        name=name, family="", url=name, serves={"m": "m"}, region=region, hardware=hardware
    )


def test_preferences_multiply() -> None:
    preferred = Preferences(
        region="eu", hardware=("h200", "a100"), cost=0.5, prices={"a": 1.0, "b": 4.0}
    )
    factors = preferred.factors(
        [backend("a"), backend("b", hardware="a100"), backend("c", "us", "l4")]
    )

    assert factors["a"] == 1.0
    assert factors["b"] == pytest.approx(1.1 * 2)
    assert factors["c"] == pytest.approx(1.25 * 1.21)


def test_who_prefers_nothing_prefers_nobody() -> None:
    assert Preferences().factors([backend("a"), backend("b", "us")]) == {"a": 1.0, "b": 1.0}


def test_the_way_to_a_region_is_part_of_the_time_that_is_predicted() -> None:
    away = Preferences(away={"us": 0.08})
    fleet = Fleet([backend("a"), backend("b", "us")], FleetState(), groups={}, preferences=away)
    here, there = fleet.pools["m"].seats
    terms = Terms(phase="total", target_s=1.0)
    for each in (here, there):
        each.standing.paces["total"].learn(0.0, 0.1)

    assert drain_s((here, there), 2.0, terms) == pytest.approx([0.2, 0.28])


def call(**size: int) -> Call:
    return Call(path="/", body=Body(b""), size=Units(size), reply="sse", affinity=b"You are")


def test_a_call_counts_by_what_replies_took_and_not_by_what_they_may() -> None:
    expected = {"m": Expected()}
    goals = Goals({}, {}, expected)
    llm = Llm(Config())
    bound = call(input_tokens=100, output_tokens=4000)
    before, terms = goals.terms(bound, model="m", modality=llm, tenant="t", slo="")
    expected["m"].learn({"llm.output_tokens": 50})
    after, _ = goals.terms(bound, model="m", modality=llm, tenant="t", slo="")
    short, _ = goals.terms(
        call(input_tokens=100, output_tokens=7), model="m", modality=llm, tenant="t", slo=""
    )

    assert (before, after, short) == (300.0, 150.0, 107.0)
    assert (terms.phase, terms.serial, terms.read) == ("first_byte", True, 100.0)
    assert terms.target_s == pytest.approx(0.525)
    assert terms.explores == "first"


def test_a_class_takes_the_place_of_the_modalitys_targets_phase_by_phase() -> None:
    targets = {"gold": {"llm": {"first_byte": Target(base_s=0.1, objective=0.99)}}}
    goals = Goals(targets, {"gold": "queue"}, {})
    llm = Llm(Config())
    _, gold = goals.terms(call(input_tokens=100), model="m", modality=llm, tenant="t", slo="gold")
    _, other = goals.terms(call(input_tokens=100), model="m", modality=llm, tenant="u", slo="")

    assert (gold.target_s, gold.objective, gold.unmet) == (0.1, 0.99, "queue")
    assert (gold.explores, gold.between_s) == ("never", 0.06)
    assert (gold.said, other.said) == (True, False)
    assert gold.affinity != other.affinity


def test_gaps_have_the_target_and_the_objective_of_the_class_else_the_modalitys() -> None:
    said = Target(base_s=0.04, per_unit={"input_tokens": 1e-5}, objective=0.99)
    targets = {"gold": {"llm": {"between": said}}}
    goals, llm = Goals(targets, {}, {}), Llm(Config())
    streams = [
        goals.terms(call(input_tokens=1000), model="m", modality=llm, tenant="t", slo=slo)[1]
        for slo in ("gold", "")
    ]

    assert [each.between_s for each in streams] == [pytest.approx(0.05), 0.06]
    assert [each.between_objective for each in streams] == [0.99, 0.95]
    assert [phase for phase, _ in streams[0].allowed] == ["first_byte", "between"]


@pytest.mark.parametrize("reply", ["sse", "chunked", "whole"])
def test_any_stream_of_a_modality_has_gaps_once_a_class_says_so(reply: ReplyKind) -> None:
    targets = {"gold": {"embedding": {"between": Target(base_s=0.2, objective=0.9)}}}
    _, terms = Goals(targets, {}, {}).terms(
        Call(path="/", body=Body(b""), size=Units(input_tokens=1), reply=reply),
        model="m",
        modality=Embedding(Embeds()),
        tenant="t",
        slo="gold",
    )

    assert terms.phase == "total"
    assert terms.between_s == (0.0 if reply == "whole" else 0.2)


def test_what_comes_whole_is_judged_as_a_whole() -> None:
    size = Units(input_tokens=1000)
    _, terms = Goals({}, {}, {}).terms(
        Call(path="/", body=Body(b""), size=size),
        model="m",
        modality=Embedding(Embeds()),
        tenant="t",
        slo="",
    )

    assert (terms.phase, terms.serial, terms.affinity) == ("total", False, None)
    assert terms.target_s == pytest.approx(0.07)


def test_who_does_without_a_promise_is_served_up_to_twice_as_late() -> None:
    steps = {"gold": ("best_effort", "queue"), "silver": ("queue",)}
    goals = Goals({slo: {} for slo in steps}, steps, {})
    found = [
        goals.terms(call(input_tokens=1), model="m", modality=Llm(Config()), tenant="t", slo=slo)[1]
        for slo in steps
    ]

    assert [each.late for each in found] == [2.0, 0.0]
