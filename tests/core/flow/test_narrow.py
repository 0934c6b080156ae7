"""Whatever a policy narrows to, a request never has more than before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.auth import Caller, Policy
from modgate.api.body import Body
from modgate.api.plan import Call, Drawn, Plan
from modgate.api.policy import Narrow
from modgate.api.relay import Event, Outcome, Relay, Usage
from modgate.api.select import Backend, Target
from modgate.dispatch import guard_residency
from modgate.errors import NoBackend, PluginFault
from modgate.fleet.pick import Wanted, allowed
from modgate.fleet.slots import Seat, Slots
from modgate.narrow import at_most, narrowed_caller, narrowed_plan
from modgate.units import NOTHING, Units

REGIONS = ("eu", "us", "")
PAIRS = (("voice", "amy"), ("voice", "bob"), ("feature", "no-log"))
CLASSES = ("", "gold", "silver", "bronze", "fast-only")
PROMISES = {
    "gold": {
        "llm": {
            "first_byte": Target(base_s=0.5, per_unit={"input_tokens": 0.001}, objective=0.99),
            "between": Target(base_s=0.06),
        }
    },
    "silver": {"llm": {"first_byte": Target(base_s=1.0, per_unit={"input_tokens": 0.002})}},
    "bronze": {"llm": {"first_byte": Target(base_s=5.0, per_unit={"input_tokens": 0.002})}},
    "fast-only": {"tts": {"first_byte": Target(base_s=0.1)}},
}

regions = st.none() | st.frozensets(st.sampled_from(REGIONS))
requires = st.lists(st.sampled_from(PAIRS), unique=True).map(tuple)
narrows = st.builds(
    Narrow, regions=regions, requires=requires, slo=st.none() | st.sampled_from(CLASSES)
)
offers = st.dictionaries(
    st.sampled_from(("voice", "feature")), st.frozensets(st.sampled_from(("amy", "bob", "no-log")))
)
places = st.builds(lambda region, offered: (region, offered), st.sampled_from(REGIONS), offers)


class Nothing(Relay):
    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        return iter(())

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(NOTHING)


def made(policy: Policy) -> Caller:
    return Caller(tenant="acme", key_id="k", policy=policy)


def open_to(caller: Caller, call: Call, region: str, offered: dict[str, frozenset[str]]) -> bool:
    """Whether the real filters, and the guard behind them, would send the call there."""
    backend = Backend(name="b", family="home", url="http://b", serves={}, region=region)
    seat = Seat(backend="b", region=region, offers=offered, slots=Slots(limit=1))
    try:
        guard_residency(backend, caller)
    except NoBackend:
        return False
    return allowed(seat, Wanted(regions=caller.policy.regions, requires=call.requires))


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    st.builds(Policy, regions=regions, slo=st.sampled_from(CLASSES)),
    requires,
    st.lists(narrows, max_size=4),
    st.lists(places, min_size=1, max_size=6),
)
def test_no_narrowing_ever_opens_a_backend_or_raises_a_class(
    policy: Policy,
    needed: tuple[tuple[str, str], ...],
    steps: list[Narrow],
    found: list[tuple[str, dict[str, frozenset[str]]]],
) -> None:
    caller, call = made(policy), Call(path="/x", body=Body.of(), requires=needed)
    plan = Plan(calls=(call,), relay=Nothing())
    for step in steps:
        before, caller = caller, narrowed_caller(caller, step, PROMISES)
        [was] = plan.calls
        plan = narrowed_plan(plan, step.requires)
        [now] = plan.calls

        assert set(was.requires) <= set(now.requires)
        assert at_most(caller.policy.slo, before.policy.slo, PROMISES)
        assert replace(now, requires=was.requires) == was
        for region, offered in found:
            if open_to(caller, now, region, offered):
                assert open_to(before, was, region, offered)
        rest = replace(caller.policy, regions=before.policy.regions, slo=before.policy.slo)
        assert rest == before.policy


@settings(derandomize=True, deadline=None)
@given(st.builds(Policy, regions=regions), narrows)
def test_what_is_narrowed_holds(policy: Policy, narrow: Narrow) -> None:
    caller = narrowed_caller(made(policy), narrow, PROMISES)
    [call] = narrowed_plan(
        Plan(calls=(Call(path="/x", body=Body.of()),), relay=Nothing()), narrow.requires
    ).calls

    assert set(narrow.requires) <= set(call.requires)
    if narrow.regions is not None:
        assert caller.policy.regions is not None
        assert caller.policy.regions <= narrow.regions


@pytest.mark.parametrize(
    ("had", "said", "has"),
    [
        ("gold", "silver", "silver"),
        ("silver", "gold", "silver"),
        ("gold", "", ""),
        ("", "gold", ""),
    ],
)
def test_a_class_is_lowered_and_never_raised(had: str, said: str, has: str) -> None:
    assert narrowed_caller(made(Policy(slo=had)), Narrow(slo=said), PROMISES).policy.slo == has


@pytest.mark.parametrize(
    "better",
    [
        Target(base_s=0.9, per_unit={"input_tokens": 0.002}, objective=0.95),
        Target(base_s=1.0, per_unit={"input_tokens": 0.001}, objective=0.95),
        Target(base_s=1.0, objective=0.95),
        Target(base_s=1.0, per_unit={"input_tokens": 0.002}, objective=0.96),
    ],
)
def test_a_class_that_is_better_in_one_thing_is_not_at_most_another(better: Target) -> None:
    plain = Target(base_s=1.0, per_unit={"input_tokens": 0.002}, objective=0.95)
    promises = {"a": {"llm": {"first_byte": plain}}, "b": {"llm": {"first_byte": better}}}

    assert at_most("a", "b", promises)
    assert not at_most("b", "a", promises)


@pytest.mark.parametrize(
    ("lower", "upper", "fits"),
    [
        ("silver", "gold", True),
        ("bronze", "silver", True),
        ("gold", "silver", False),
        ("", "gold", True),
        ("gold", "", False),
        ("", "", True),
        ("fast-only", "gold", False),
        ("gold", "gold", True),
    ],
)
def test_a_class_is_at_most_another_when_it_promises_nothing_sooner_or_more_often(
    lower: str, upper: str, fits: bool
) -> None:
    assert at_most(lower, upper, PROMISES) == fits


def test_a_class_that_is_not_there_is_the_policys_fault() -> None:
    with pytest.raises(PluginFault, match="platinum"):
        narrowed_caller(made(Policy(slo="gold")), Narrow(slo="platinum"), PROMISES)


def lazily(calls: list[Call]) -> Iterator[Call]:
    yield from calls


def drawn(calls: list[Call]) -> Drawn:
    return Drawn(print, (), lambda index, piece: calls[index] if index < len(calls) else None)


@pytest.mark.parametrize("kind", [tuple, list, lazily])
def test_calls_of_any_plan_require_it(kind: Callable[[list[Call]], Iterable[Call]]) -> None:
    calls = [Call(path=f"/{n}", body=Body.of(), size=Units(pages=n)) for n in range(3)]
    plan = narrowed_plan(Plan(calls=kind(calls), relay=Nothing()), PAIRS[:1])

    assert [(call.path, call.requires) for call in plan.calls] == [
        (f"/{n}", PAIRS[:1]) for n in range(3)
    ]
    assert isinstance(plan.calls, tuple) == (kind is not lazily)


def test_calls_that_a_decoder_will_draw_require_it() -> None:
    calls = [Call(path="/0", body=Body.of(), requires=PAIRS[:1])]
    plan = narrowed_plan(Plan(calls=drawn(calls), relay=Nothing(), reserve=NOTHING), PAIRS)
    assert isinstance(plan.calls, Drawn)
    made = plan.calls.to_call(0, {})

    assert made is not None
    assert made.requires == PAIRS
    assert plan.calls.to_call(1, {}) is None
