"""Limits in shadow, which refuse nothing, and places that several gateways share."""

from __future__ import annotations

import pytest
from rigs.limits import World, limit_of

from modgate.api.auth import Caller, Limits, Policy, Rate
from modgate.limits.state import LimitState
from modgate.units import Units

TOKENS = "llm.output_tokens"


def caller(
    *rates: Rate, in_flight: int | None = None, shadow: frozenset[str] = frozenset()
) -> Caller:
    limits = Limits(rates=rates, in_flight=in_flight, shadow=shadow)
    return Caller(tenant="acme", key_id="k", policy=Policy(limits=limits))


SHADOWED = caller(
    Rate(unit="requests", amount=1, period="minute", shadow=True),
    Rate(unit=TOKENS, amount=100, period="minute", shadow=True),
    Rate(unit=TOKENS, amount=1000, period="day"),
)


@pytest.fixture
def world() -> World:
    return World()


def test_a_limit_in_shadow_refuses_nothing_and_says_what_it_would(world: World) -> None:
    first, admission = world.admit(SHADOWED), world.admit(SHADOWED)
    world.reserve(first, Units(output_tokens=80))
    world.settle(first, {TOKENS: 80})
    world.reserve(admission, Units(output_tokens=80))
    world.settle(admission, {TOKENS: 90})

    assert first.would_refuse == []
    assert admission.would_refuse == ["requests/minute", f"{TOKENS}/minute"]
    views = world.views(SHADOWED)
    assert [view.remaining for view in views] == [0, 0, 1000 - 80 - 90]
    assert world.idle


def test_what_is_taken_back_is_taken_back_of_shadows_too(world: World) -> None:
    admission = world.admit(SHADOWED)
    mark = admission.mark()
    world.reserve(admission, Units(output_tokens=80))
    world.limiter.take_back(admission, mark, now=world.now)
    assert [view.remaining for view in world.views(SHADOWED)] == [0, 100, 1000]

    world.reserve(admission, Units(output_tokens=30))
    world.settle(admission, {TOKENS: 25})

    assert [view.remaining for view in world.views(SHADOWED)] == [0, 75, 975]
    assert world.idle


def test_a_shadow_is_charged_what_was_used_and_nothing_where_nothing_was(world: World) -> None:
    for used in ({TOKENS: 40}, {}):
        admission = world.admit(SHADOWED)
        world.reserve(admission, Units(output_tokens=50))
        world.settle(admission, used)

    assert [view.remaining for view in world.views(SHADOWED)] == [0, 60, 960]


@pytest.mark.parametrize("used", [0, 50, 250, 777])
def test_however_often_a_shadow_was_charged_it_ends_with_what_was_used(
    world: World, used: int
) -> None:
    who = caller(Rate(unit=TOKENS, amount=1000, period="day", shadow=True))
    admission = world.admit(who)
    world.reserve(admission, Units(output_tokens=100))
    world.top_up(admission, Units(output_tokens=200))
    world.settle(admission, {TOKENS: used})

    assert world.left(who) == {"output_tokens": 1000 - used}


def test_a_shadow_is_charged_for_what_was_used_before_a_plan_as_another_limit_is(
    world: World,
) -> None:
    who = caller(
        Rate(unit="llm.bytes_in", amount=500, period="day"),
        Rate(unit="llm.bytes_in", amount=500, period="month", shadow=True),
        Rate(unit="llm.requests", amount=500, period="day"),
        Rate(unit="llm.requests", amount=500, period="month", shadow=True),
    )
    world.settle(world.admit(who), {"llm.bytes_in": 70, "llm.requests": 1})

    assert [view.remaining for view in world.views(who)] == [430, 430, 500, 500]


def test_places_that_gateways_share_are_taken_and_given_back() -> None:
    one = World(state=LimitState(shared=True))
    other = World(state=LimitState(shared=True, levels=one.state.levels))
    who = caller(in_flight=2)
    here, there = one.admit(who), other.admit(who)
    full = limit_of(lambda: one.admit(who))
    assert (full.limit, "limit of 2 in flight" in full.message) == ("in_flight", True)
    assert one.state.total == {"in_flight": 1}

    other.settle(there, {})
    again = one.admit(who)
    for admission in (here, again):
        one.settle(admission, {})

    assert one.idle
    assert one.state.levels.sizes() == (0, 0)


def test_places_in_shadow_are_not_asked_for() -> None:
    world = World(state=LimitState(shared=True))
    who = caller(in_flight=1, shadow=frozenset({"in_flight"}))
    first, second = world.admit(who), world.admit(who)

    assert (first.would_refuse, second.would_refuse) == ([], ["in_flight"])
    assert world.state.levels.sizes() == (0, 0)
