from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from rigs.accounts import Fleet
from rigs.limits import TABLE, World, limit_of, tenant
from rigs.virtual import virtually

from modgate.api.auth import Caller, Limits, Period, Policy, Rate
from modgate.errors import LimitReached, QuotaSpent
from modgate.limits.limiter import Bounds, Limiter
from modgate.limits.shared import Miss, SharedAccount
from modgate.limits.slices import RECORD_MS
from modgate.limits.state import LimitState
from modgate.units import Units


@pytest.fixture
def world() -> World:
    return World()


async def patiently(account: SharedAccount, step: Callable[[], object]) -> None:
    """A step of a request, as often as the account must be fetched for it."""
    while True:
        try:
            step()
        except Miss as miss:
            await account.fetch(miss)
        else:
            return


# --- on top, touched, and where it is settled


def test_what_is_topped_up_is_charged_and_settled_with_the_rest(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "minute"), ("asr.audio_ms", 60_000, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=100))
    world.top_up(admission, Units(output_tokens=200))
    world.top_up(admission, Units(audio_ms=20_000), "asr")
    assert world.left(caller) == {"output_tokens": 700, "audio_seconds": 40}

    world.settle(admission, {"llm.output_tokens": 250, "asr.audio_ms": 1_000})

    assert world.left(caller) == {"output_tokens": 750, "audio_seconds": 59}
    assert world.idle


@pytest.mark.parametrize("used", [0, 50, 100, 150, 300, 777])
def test_however_much_was_used_the_parts_settle_to_exactly_that(world: World, used: int) -> None:
    caller = tenant(("llm.output_tokens", 1000, "month"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=100))
    world.top_up(admission, Units(output_tokens=100))
    world.top_up(admission, Units(output_tokens=100))
    world.settle(admission, {"llm.output_tokens": used})

    assert world.left(caller) == {"output_tokens": 1000 - used}


@pytest.mark.parametrize("foreseen", [400, 0])
@pytest.mark.parametrize("shadow", [False, True], ids=["in force", "in shadow"])
@pytest.mark.parametrize("models", [("", "m", "guard"), ("guard",), ("m",), ("",)])
def test_a_side_call_takes_of_its_models_limits_what_it_used_and_the_plan_what_is_its_own(
    world: World, models: tuple[str, ...], shadow: bool, foreseen: int
) -> None:
    rate = Rate(unit="llm.output_tokens", amount=2000, period="day", shadow=shadow)
    rates = tuple(replace(rate, model=model) for model in models)
    caller = Caller(tenant="acme", key_id="k", policy=Policy(limits=Limits(rates=rates)))
    admission = world.admit(caller)
    for reserved, used in ((500, 3), (500, 0), (0, 4)):
        counts = {"llm.output_tokens": reserved}
        aside = world.limiter.reserve_aside(
            admission, counts, modality="llm", model="guard", now=world.now
        )
        aside.used = {"llm.output_tokens": used}
    world.reserve(admission, Units(input_tokens=1, output_tokens=foreseen))
    world.settle(admission, {"llm.input_tokens": 1, "llm.output_tokens": 307})

    left = {"": 2000 - 307, "m": 2000 - 300, "guard": 2000 - 7}
    assert [view.remaining for view in world.views(caller)] == [left[model] for model in models]
    assert world.idle


def test_what_only_side_calls_used_is_charged_to_their_limits_where_no_plan_came(
    world: World,
) -> None:
    rate = Rate(unit="llm.output_tokens", amount=2000, period="day")
    rates = (rate, replace(rate, model="m"), replace(rate, model="guard"))
    caller = Caller(tenant="acme", key_id="k", policy=Policy(limits=Limits(rates=rates)))
    admission, counts = world.admit(caller), {"llm.output_tokens": 500}
    aside = world.limiter.reserve_aside(
        admission, counts, modality="llm", model="guard", now=world.now
    )
    aside.used = {"llm.output_tokens": 3}
    world.settle(admission, {"llm.output_tokens": 3})

    assert [view.remaining for view in world.views(caller)] == [1997, 2000, 1997]
    assert world.idle


def test_a_top_up_that_is_refused_leaves_what_was_reserved(world: World) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=60))
    limit_of(lambda: world.top_up(admission, Units(output_tokens=60)))
    assert world.left(caller) == {"output_tokens": 40}

    world.settle(admission, {"llm.output_tokens": 10})

    assert world.left(caller) == {"output_tokens": 90}


def test_a_spent_limit_of_what_the_plan_does_not_say_ends_no_request_that_runs(
    world: World,
) -> None:
    caller = tenant(("llm.input_tokens", 10, "minute"), ("llm.output_tokens", 10, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(input_tokens=1))
    world.spend(caller, Units(output_tokens=10))
    world.top_up(admission, Units(input_tokens=1))

    other = world.admit(caller)
    assert limit_of(lambda: world.reserve(other, Units(input_tokens=1))).kind == "output_tokens"


def test_a_spent_limit_of_what_a_plan_needs_none_of_refuses_nothing(world: World) -> None:
    caller = tenant(("llm.input_tokens", 10, "minute"), ("llm.output_tokens", 10, "minute"))
    world.spend(caller, Units(input_tokens=10, output_tokens=1))
    world.reserve(world.admit(caller), Units(output_tokens=1))

    assert world.left(caller)["output_tokens"] == 8


def test_the_limit_that_refused_is_told_and_not_the_first_that_was_asked(world: World) -> None:
    caller = tenant(("llm.input_tokens", 10, "minute"), ("llm.output_tokens", 10, "minute"))
    world.spend(caller, Units(input_tokens=1, output_tokens=10))
    admission = world.admit(caller)

    error = limit_of(lambda: world.reserve(admission, Units(input_tokens=1, output_tokens=1)))
    assert (error.limit, error.retry_after_s) == ("llm.output_tokens/minute", 6.0)


def test_a_learned_count_beyond_a_bucket_waits_until_it_is_empty(world: World) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"))
    world.spend(caller, Units(output_tokens=50))
    admission = world.admit(caller)

    error = limit_of(lambda: world.reserve(admission, Units(output_tokens=500)))
    assert error.retry_after_s == 30.0
    world.sleep(30)
    world.reserve(admission, Units(output_tokens=500))
    assert world.left(caller) == {"output_tokens": 0}


@pytest.mark.parametrize("period", ["minute", "month"])
def test_what_is_taken_back_was_never_reserved_and_another_plan_is(
    world: World, period: Period
) -> None:
    caller = tenant(("llm.output_tokens", 100, period), ("requests", 9, period))
    admission = world.admit(caller)
    world.top_up(admission, Units(output_tokens=10))  # of a side call, which stays
    mark = admission.mark()
    for _ in range(3):
        world.reserve(admission, Units(output_tokens=60))
        world.top_up(admission, Units(output_tokens=20))
        assert world.left(caller) == {"output_tokens": 10, "requests": 8}
        world.limiter.take_back(admission, mark, now=world.now)
        assert world.left(caller) == {"output_tokens": 90, "requests": 8}

    world.reserve(admission, Units(output_tokens=60))
    world.settle(admission, {"llm.output_tokens": 37})

    assert world.left(caller) == {"output_tokens": 63, "requests": 8}
    assert world.idle


def test_what_only_the_plan_that_was_taken_back_foresaw_is_charged_where_it_was_used(
    world: World,
) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"))
    admission = world.admit(caller)
    mark = admission.mark()
    world.reserve(admission, Units(output_tokens=60))
    world.limiter.take_back(admission, mark, now=world.now)
    world.reserve(admission, Units(input_tokens=1))
    world.settle(admission, {"llm.output_tokens": 40})

    assert world.left(caller) == {"output_tokens": 60}


def test_a_touch_changes_no_level(world: World) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"))
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=60))
    world.limiter.touch(admission, {"llm.output_tokens": 30})

    assert world.left(caller) == {"output_tokens": 40}


@virtually
async def test_a_gateway_that_dies_leaves_the_request_and_what_was_measured_once() -> None:
    """Of a unit that was reserved for in three parts, too."""
    fleet = Fleet(gateways=2)
    dead, alive = fleet.accounts
    limiter = Limiter(LimitState(levels=dead, shared=True), TABLE, Bounds())
    rates: list[tuple[str, int, Period]] = [
        ("requests", 100, "day"),
        ("llm.requests", 100, "day"),
        ("llm.output_tokens", 1000, "day"),
    ]
    now = fleet.clock.now()
    admission = limiter.admit(tenant(*rates), now=now, wall=now)
    counts = {"llm.output_tokens": 60}
    await patiently(dead, partial(limiter.charge_requests, admission, now=now))
    reserve = partial(limiter.reserve, admission, counts, modality="llm", model="m", now=now)
    await patiently(dead, reserve)
    for _ in range(2):
        await patiently(dead, partial(reserve, requests=0))
    limits = {
        name: limit
        for part in admission.reservations
        for name, (limit, _) in zip(part.names, part.wanted, strict=True)
    }
    fleet.clock.ms += 2500
    limiter.touch(admission, {"llm.output_tokens": 70})
    await dead.tick()
    fleet.clock.ms += RECORD_MS + 1
    await fleet.ask(alive, [(limits["requests"], 0)])
    await alive.tick()

    levels = fleet.store.levels
    assert {name: levels.level(limit, fleet.clock.ms) for name, limit in limits.items()} == {
        "requests": 1,
        "llm.requests": 1,
        "llm.output_tokens": 70,
    }


def test_a_quota_is_settled_in_the_window_that_it_was_reserved_in(world: World) -> None:
    caller = tenant(("llm.output_tokens", 1000, "day"))
    world.sleep(12 * 3600 - 10)
    admission = world.admit(caller)
    world.reserve(admission, Units(output_tokens=800))
    world.sleep(60)
    world.settle(admission, {"llm.output_tokens": 100})
    assert world.left(caller) == {"output_tokens": 1000}

    world.wall -= 100

    assert world.left(caller) == {"output_tokens": 900}


# --- before the body is read


@pytest.mark.parametrize("period", ["minute", "month"])
def test_a_spent_unit_limit_refuses_before_the_body_is_read(world: World, period: Period) -> None:
    caller = _spent(world, period)
    admission = world.admit(caller)

    with pytest.raises((LimitReached, QuotaSpent)):
        world.limiter.check_spent(admission, ("asr",), now=world.now)


def test_a_path_of_two_modalities_is_open_while_one_of_them_has_something_left(
    world: World,
) -> None:
    caller = _spent(world, "minute")
    admission = world.admit(caller)

    world.limiter.check_spent(admission, ("asr", "llm"), now=world.now)
    world.limiter.check_spent(admission, ("llm", "asr"), now=world.now)
    world.limiter.check_spent(admission, (), now=world.now)


def test_where_nothing_is_left_of_both_the_first_is_told_and_one_left_is_enough(
    world: World,
) -> None:
    caller = tenant(("asr.audio_ms", 60_000, "minute"), ("llm.output_tokens", 10, "minute"))
    admission = world.admit(caller)
    world.spend(caller, Units(audio_ms=60_000), "asr")
    world.spend(caller, Units(output_tokens=9))
    world.limiter.check_spent(admission, ("llm",), now=world.now)
    world.spend(caller, Units(output_tokens=1))

    def check() -> None:
        world.limiter.check_spent(admission, ("asr", "llm"), now=world.now)

    assert limit_of(check).kind == "audio_seconds"


def test_looking_whether_something_is_left_charges_nothing(world: World) -> None:
    caller = tenant(("asr.audio_ms", 60_000, "minute"))
    admission = world.admit(caller)
    for _ in range(10):
        world.limiter.check_spent(admission, ("asr",), now=world.now)

    assert world.left(caller) == {"audio_seconds": 60}


def _spent(world: World, period: Period) -> Caller:
    caller = tenant(("asr.audio_ms", 60_000, period))
    world.spend(caller, Units(audio_ms=60_000), "asr")
    return caller


# --- what the headers show


def test_a_full_limit_resets_at_once_and_a_spent_one_when_it_is_full_again(world: World) -> None:
    caller = tenant(("requests", 10, "minute"), ("requests", 100, "day"))
    assert [view.reset_ms for view in world.views(caller)] == [0, 0]
    world.settle(world.admit(caller), {})

    assert [view.reset_ms for view in world.views(caller)] == [6000, 12 * 3_600_000]


def test_debt_shows_nothing_left_and_not_less(world: World) -> None:
    caller = tenant(("llm.output_tokens", 100, "minute"))
    admission = world.admit(caller)
    world.settle(admission, {"llm.output_tokens": 500})

    assert world.left(caller) == {"output_tokens": 0}
