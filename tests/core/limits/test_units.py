from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from rigs.limits import World, limit_of, quota_of, tenant

from modgate.api.auth import Caller, Limits, Period, Policy, Rate
from modgate.errors import LimitReached, TooLarge
from modgate.units import Units


@pytest.fixture
def world() -> World:
    return World()


# --- units


def test_a_neighbours_quota_empties_nobodys_rate(world: World) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"))
    world.spend(caller, Units(output_tokens=100))
    world.settle(world.admit(tenant(("requests", 1000, "day"), name="beta")), {})

    assert world.left(caller) == {"output_tokens": 0}


@pytest.mark.parametrize("used", [0, 40, 300])
def test_every_limit_on_a_unit_is_settled_to_what_was_used(world: World, used: int) -> None:
    caller = tenant(
        ("llm.output_tokens", 1000, "minute"),
        ("llm.output_tokens", 2000, "hour"),
        ("llm.output_tokens", 3000, "month"),
    )
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=100))
    world.top_up(admission, Units(output_tokens=50))
    world.settle(admission, {"llm.output_tokens": used})

    left = [view.remaining for view in world.views(caller)]
    assert left == [1000 - used, 2000 - used, 3000 - used]


def test_units_are_reserved_and_settled_to_what_was_used(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=800))
    assert world.left(caller) == {"output_tokens": 200}

    world.settle(admission, {"llm.output_tokens": 150})

    assert world.left(caller) == {"output_tokens": 850}
    assert world.idle


def test_what_goes_beyond_the_reserve_is_debt(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=100))
    world.settle(admission, {"llm.output_tokens": 1500})

    refused = world.admit(caller)
    error = limit_of(lambda: world.reserve(refused, Units(output_tokens=100)))

    assert error.retry_after_s == pytest.approx(36.0)


def test_when_nobody_counted_the_reserve_stands(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=800))
    world.settle(admission, None)

    assert world.left(caller) == {"output_tokens": 200}
    assert world.idle


def test_settling_twice_is_settling_once(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "minute"), in_flight=3)
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=800))
    for used in ({"llm.output_tokens": 10}, {}, None):
        world.settle(admission, used)

    assert world.left(caller) == {"output_tokens": 990}
    assert world.idle


def test_a_unit_that_was_used_and_not_reserved_is_charged_all_the_same(world: World) -> None:
    caller = tenant(
        ("llm.output_tokens", 1000, "minute"),
        ("llm.input_tokens", 1000, "minute"),
        ("asr.audio_ms", 60_000, "minute"),
    )
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=100))
    world.settle(admission, {"llm.output_tokens": 100, "llm.input_tokens": 300, "asr.audio_ms": 0})

    assert world.left(caller) == {
        "output_tokens": 900,
        "input_tokens": 700,
        "audio_seconds": 60,
    }


def test_all_units_are_reserved_or_none(world: World) -> None:
    caller = tenant(
        ("llm.input_tokens", 1000, "minute"),
        ("llm.output_tokens", 10, "minute"),
    )
    world.spend(caller, Units(output_tokens=10))
    admission = world.admit(caller)
    limit_of(lambda: world.reserve(admission, Units(input_tokens=500, output_tokens=5)))

    assert world.left(caller)["input_tokens"] == 1000


def test_a_rate_and_a_quota_are_reserved_together_or_not_at_all(world: World) -> None:
    caller = tenant(("llm.input_tokens", 1000, "minute"), ("llm.input_tokens", 50, "day"))
    world.spend(caller, Units(input_tokens=50))
    world.sleep(60)
    admission = world.admit(caller)
    quota_of(lambda: world.reserve(admission, Units(input_tokens=40)))

    assert [view.remaining for view in world.views(caller)] == [1000, 0]


def test_a_limit_counts_its_own_unit_only(world: World) -> None:
    caller = tenant(("llm.output_tokens", 10, "minute"), ("vlm.output_tokens", 10, "minute"))
    world.spend(caller, Units(output_tokens=10))
    admission = world.admit(caller)

    world.reserve(admission, Units(output_tokens=10), "vlm")


def test_tenants_do_not_share_a_level(world: World) -> None:
    world.spend(tenant(("llm.output_tokens", 10, "minute")), Units(output_tokens=10))

    other = tenant(("llm.output_tokens", 10, "minute"), name="beta")
    world.spend(other, Units(output_tokens=10))


def test_a_limit_given_twice_counts_once_and_the_tightest_rules(world: World) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"), ("llm.output_tokens", 40, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=30))
    world.settle(admission, {"llm.output_tokens": 30})

    assert [view.remaining for view in world.views(caller)] == [70, 10]


def test_an_amount_is_shown_in_the_unit_that_clients_know(world: World) -> None:
    caller = tenant(("asr.audio_ms", 36_000_000, "hour"))
    world.spend(caller, Units(audio_ms=35_999_500), "asr")
    (view,) = world.views(caller)
    assert (view.unit, view.limit, view.remaining) == ("audio_seconds", 36_000, 0)

    admission = world.admit(caller)
    error = limit_of(lambda: world.reserve(admission, Units(audio_ms=10_000), "asr"))

    assert (error.kind, error.limit) == ("audio_seconds", "asr.audio_seconds/hour")
    assert "36000" in error.message


def test_the_request_itself_is_a_unit_of_its_modality_and_stays_charged(world: World) -> None:
    caller = tenant(("llm.requests", 2, "minute"))
    for used in (None, {}):
        admission = world.admit(caller)
        world.reserve(admission, Units(output_tokens=5))
        world.settle(admission, used)

    admission = world.admit(caller)
    assert limit_of(lambda: world.reserve(admission, Units(output_tokens=5))).kind == "requests"


def test_who_asks_on_while_requests_of_a_modality_are_spent_is_served_at_their_rate(
    world: World,
) -> None:
    caller = tenant(("llm.requests", 6, "minute"))
    served = 0
    for _ in range(120):
        admission = world.admit(caller)
        with suppress(LimitReached):
            world.reserve(admission, Units(output_tokens=5))
            served += 1
        world.settle(admission, {"llm.requests": 1})
        world.sleep(1)

    assert served == 6 + 11  # one in ten seconds, but for the first ten


def test_a_bound_beyond_what_a_rate_ever_holds_is_taken_when_all_is_free_and_then_blocks(
    world: World,
) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"))
    world.spend(caller, Units(output_tokens=300))
    admission = world.admit(caller)
    assert quota_of(lambda: world.reserve(admission, Units(output_tokens=1)))

    world.sleep(121)

    world.reserve(admission, Units(output_tokens=1))


@pytest.mark.parametrize("period", ["minute", "day"])
def test_more_than_a_limit_ever_holds_is_too_large_though_nothing_is_spent(
    world: World, period: Period
) -> None:
    admission = world.admit(tenant(("asr.audio_ms", 60_000, period)))

    with pytest.raises(TooLarge, match=rf"60 asr\.audio_seconds per {period}"):
        world.reserve(admission, Units(audio_ms=60_001), "asr")


def test_a_bound_that_is_learned_takes_what_the_quota_has_left(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "day"))
    world.spend(caller, Units(output_tokens=900))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=128_000))
    assert world.left(caller) == {"output_tokens": 0}
    world.settle(admission, {"llm.output_tokens": 20})
    assert world.left(caller) == {"output_tokens": 80}

    world.spend(caller, Units(output_tokens=80))
    admission = world.admit(caller)

    quota_of(lambda: world.reserve(admission, Units(output_tokens=1)))


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("model", ["", "m", "other"])
def test_what_no_plan_foresees_is_charged_where_the_model_is_meant(
    world: World, model: str, shadow: bool
) -> None:
    rate = Rate(unit="llm.cached_tokens", amount=1000, period="day", model=model, shadow=shadow)
    other = Rate(unit="asr.audio_ms", amount=60_000, period="day", shadow=shadow)
    caller = Caller(tenant="acme", key_id="k", policy=Policy(limits=Limits(rates=(rate, other))))
    admission = world.admit(caller)
    before = admission.mark()
    world.reserve(admission, Units(input_tokens=100))
    world.limiter.take_back(admission, before, now=world.now)
    world.reserve(admission, Units(input_tokens=100))
    world.top_up(admission, Units(audio_ms=1000), "asr")
    world.settle(admission, {"llm.input_tokens": 100, "llm.cached_tokens": 60})

    left = {"cached_tokens": 1000 if model == "other" else 940, "audio_seconds": 60}
    assert world.left(caller) == left


def test_each_key_has_a_level_of_its_own_where_the_rate_says_so(world: World) -> None:
    rates = (
        Rate(unit="llm.input_tokens", amount=100, period="minute", each_key=True),
        Rate(unit="llm.output_tokens", amount=100, period="minute"),
    )
    policy = Policy(limits=Limits(rates=rates))
    one, other = (Caller(tenant="acme", key_id=key, policy=policy) for key in ("k1", "k2"))
    world.spend(one, Units(input_tokens=100, output_tokens=10))
    world.spend(other, Units(input_tokens=30, output_tokens=10))

    assert world.left(one) == {"input_tokens": 0, "output_tokens": 80}
    assert world.left(other) == {"input_tokens": 70, "output_tokens": 80}


@pytest.mark.parametrize("shadow", [False, True])
def test_a_request_counts_for_all_models_and_for_its_own(world: World, shadow: bool) -> None:
    of_m = Rate(unit="requests", amount=5, period="minute", model="m", shadow=shadow)
    rates = (of_m, replace(of_m, model="n"), replace(of_m, period="day"))
    rates += (Rate(unit="requests", amount=9, period="minute"),)
    caller = Caller(tenant="acme", key_id="k", policy=Policy(limits=Limits(rates=rates)))
    for _ in range(2):
        admission = world.admit(caller)
        world.reserve(admission, Units(input_tokens=1))
        world.limiter.touch(admission, {"llm.input_tokens": 1})
        world.settle(admission, {"llm.input_tokens": 1})

    assert [view.remaining for view in world.views(caller)] == [3, 5, 3, 7]


def test_a_request_with_other_limits_than_the_one_before_meets_its_own(world: World) -> None:
    admission = world.admit(tenant(("requests", 5, "minute")))
    now = world.admit(tenant(("requests", 7, "minute")))

    assert [met.rate.amount for met in (*admission.terms.all, *now.terms.all)] == [5, 7]


def test_a_learned_unit_that_no_plan_foresees_is_refused_when_it_is_spent(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "day"))
    admission = world.admit(caller)
    world.reserve(admission, Units(input_tokens=100))
    world.settle(admission, {"llm.input_tokens": 100, "llm.output_tokens": 1000})
    admission = world.admit(caller)

    assert quota_of(lambda: world.reserve(admission, Units(input_tokens=100)))


def test_a_unit_without_a_limit_is_not_counted(world: World) -> None:
    admission = world.admit(tenant(("llm.input_tokens", 10, "minute")))
    world.reserve(admission, Units(output_tokens=1_000_000))
    world.settle(admission, {"llm.output_tokens": 5})

    assert world.state.levels.sizes() == (0, 0)


def test_what_comes_after_the_end_is_not_held(world: World) -> None:
    admission = world.admit(tenant(spool_bytes=10))
    world.settle(admission, {})
    world.limiter.hold(admission, "spool_bytes", 5)

    assert world.idle
