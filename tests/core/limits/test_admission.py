from __future__ import annotations

from dataclasses import replace

import pytest
from rigs.limits import TABLE, WALL, World, limit_of, quota_of, tenant

from modgate.api.auth import Caller, Limits, Period, Policy, Rate
from modgate.errors import Overloaded, TooLarge
from modgate.limits.limiter import Bounds, What
from modgate.limits.rates import Rates, window


@pytest.fixture
def world() -> World:
    return World()


# --- requests


def test_a_caller_without_limits_is_admitted(world: World) -> None:
    admission = world.admit(tenant())
    world.settle(admission, {})

    assert world.idle


def test_requests_are_refused_once_the_burst_is_gone_with_the_exact_wait(world: World) -> None:
    caller = tenant(("requests", 3, "minute"))
    for _ in range(3):
        world.admit(caller)

    error = limit_of(lambda: world.admit(caller))

    assert (error.kind, error.limit) == ("requests", "requests/minute")
    assert error.retry_after_s == 20.0
    assert error.message.endswith("limit 3. Please try again in 20.000s.")


@pytest.mark.parametrize("start", [1000.0, 0.1, 12345.6789, 77.0013])
@pytest.mark.parametrize("amount", [3, 7, 50, 999])
def test_who_waits_as_told_is_admitted_and_not_a_millisecond_before(
    start: float, amount: int
) -> None:
    world, caller = World(now=start), tenant(("requests", amount, "minute"))
    for _ in range(amount):
        world.admit(caller)
    wait_s = limit_of(lambda: world.admit(caller)).retry_after_s
    assert wait_s is not None

    world.sleep(wait_s - 0.002)
    limit_of(lambda: world.admit(caller))
    world.sleep(0.003)

    world.admit(caller)


def test_of_two_limits_on_requests_neither_is_charged_when_one_refuses(world: World) -> None:
    caller = tenant(("requests", 100, "second"), ("requests", 2, "hour"))
    world.admit(caller)
    world.admit(caller)
    world.sleep(10)
    before = {view.limit: view.remaining for view in world.views(caller)}

    quota_of(lambda: world.admit(caller))

    assert {view.limit: view.remaining for view in world.views(caller)} == before
    assert before[100] == 100


def test_a_wait_beyond_two_minutes_is_a_spent_quota_without_a_retry_after(world: World) -> None:
    caller = tenant(("requests", 2, "hour"))
    world.admit(caller)
    world.admit(caller)

    error = quota_of(lambda: world.admit(caller))

    assert error.retry_after is None
    assert "2 requests per hour" in error.message


def test_a_wait_of_two_minutes_is_worth_it(world: World) -> None:
    caller = tenant(("requests", 30, "hour"))
    for _ in range(30):
        world.admit(caller)

    assert limit_of(lambda: world.admit(caller)).retry_after == 120


def test_a_day_ends_at_midnight_utc(world: World) -> None:
    caller = tenant(("requests", 1, "day"))
    world.admit(caller)
    quota_of(lambda: world.admit(caller))

    world.sleep(12 * 3600)

    world.admit(caller)


def test_a_day_that_ends_within_two_minutes_is_worth_waiting_for(world: World) -> None:
    caller = tenant(("requests", 1, "day"))
    world.sleep(12 * 3600 - 90)
    world.admit(caller)

    error = limit_of(lambda: world.admit(caller))

    assert error.retry_after_s == pytest.approx(90.0)


def test_the_charge_for_the_request_stays_whatever_becomes_of_it(world: World) -> None:
    caller = tenant(("requests", 10, "minute"))
    world.settle(world.admit(caller), None)
    world.settle(world.admit(caller), {})

    assert world.left(caller) == {"requests": 8}


@pytest.mark.parametrize(
    ("period", "wall", "begins", "ends"),
    [
        ("day", WALL, "2026-01-01", WALL + 12 * 3600),
        ("day", WALL + 61.5, "2026-01-01", WALL + 12 * 3600),
        ("month", WALL, "2026-01", WALL - 12 * 3600 + 31 * 86_400),
        ("month", WALL + 61.5, "2026-01", WALL - 12 * 3600 + 31 * 86_400),
        ("month", WALL + 30 * 86_400, "2026-01", WALL - 12 * 3600 + 31 * 86_400),  # its last day
        ("month", WALL + 30.9 * 86_400, "2026-02", WALL - 12 * 3600 + 59 * 86_400),
        ("month", WALL + 340 * 86_400, "2026-12", WALL - 12 * 3600 + 365 * 86_400),
    ],
)
def test_a_window_is_the_calendars(period: str, wall: float, begins: str, ends: float) -> None:
    assert window(period, wall) == (begins, ends)


@pytest.mark.parametrize("period", ["minute", "month"])
def test_what_a_rate_says_for_a_store_that_is_down_is_its_limits(
    world: World, period: Period
) -> None:
    rate = Rate(unit="requests", amount=3, period=period, when_down="closed")
    caller = Caller(tenant="acme", key_id="k", policy=Policy(limits=Limits(rates=(rate,))))
    terms = Rates(TABLE, world.state.ms).of(caller, began=world.now, wall=world.wall)

    assert [met.limit.when_down for met in terms.all] == ["closed"]


# --- what is held at once


@pytest.mark.parametrize("what", ["in_flight", "streams", "body_bytes", "spool_bytes"])
def test_what_is_held_beyond_a_bound_in_shadow_is_noted_once_and_counted(
    world: World, what: What
) -> None:
    hard = tenant(in_flight=2, streams=2, body_bytes=2, spool_bytes=2)
    limits = replace(hard.policy.limits, shadow=frozenset({what}))
    caller = replace(hard, policy=replace(hard.policy, limits=limits))
    admission = world.admit(caller)
    world.limiter.hold(admission, what, 2)
    world.limiter.hold(admission, what, 1)
    world.limiter.hold(admission, what, 1)

    assert admission.would_refuse == [what]
    assert world.state.total[what] == 4 + (what == "in_flight")
    world.settle(admission, {})
    assert world.idle


def test_a_tenant_has_so_many_requests_in_flight_and_its_neighbour_its_own(world: World) -> None:
    acme, beta = tenant(in_flight=2), tenant(in_flight=2, name="beta")
    first = world.admit(acme)
    world.admit(acme)
    assert limit_of(lambda: world.admit(acme)).kind == "in_flight"
    world.admit(beta)

    world.settle(first, {})

    world.admit(acme)


def test_a_bound_of_one_takes_one(world: World) -> None:
    alone = tenant(in_flight=1)
    first = world.admit(alone)
    assert limit_of(lambda: world.admit(alone)).kind == "in_flight"
    world.settle(first, {})

    world.admit(alone)


def test_the_gateway_takes_so_many_in_all(world: World) -> None:
    world = World(bounds=Bounds(in_flight=2))
    world.admit(tenant())
    first = world.admit(tenant(name="beta"))
    with pytest.raises(Overloaded):
        world.admit(tenant(name="gamma"))

    world.settle(first, {})

    world.admit(tenant(name="gamma"))


def test_a_refused_request_keeps_no_place(world: World) -> None:
    caller = tenant(("requests", 1, "minute"), in_flight=5)
    world.settle(world.admit(caller), {})
    for _ in range(20):
        limit_of(lambda: world.admit(caller))

    assert world.idle


@pytest.mark.parametrize("what", ["streams", "body_bytes", "spool_bytes"])
def test_a_refusal_to_hold_more_changes_nothing_and_all_comes_back(
    world: World, what: What
) -> None:
    caller = tenant(**{what: 10})
    one, two = world.admit(caller), world.admit(caller)
    world.limiter.hold(one, what, 6)
    assert limit_of(lambda: world.limiter.hold(two, what, 5)).kind == what
    world.limiter.hold(two, what, 4)
    world.limiter.hold(one, what, -6)
    world.limiter.hold(two, what, 6)

    world.settle(one, {})
    world.settle(two, {})

    assert world.idle


@pytest.mark.parametrize("what", ["streams", "body_bytes", "spool_bytes"])
def test_what_all_tenants_hold_together_is_bounded(what: What) -> None:
    world = World(bounds=Bounds(streams=10, body_bytes=10, spool_bytes=10))
    one, two = world.admit(tenant()), world.admit(tenant(name="beta"))
    world.limiter.hold(one, what, 6)
    with pytest.raises(Overloaded):
        world.limiter.hold(two, what, 5)

    world.settle(one, {})
    world.limiter.hold(two, what, 10)
    world.settle(two, {})

    assert world.idle


def test_what_is_freed_after_the_end_is_not_given_back_twice(world: World) -> None:
    caller = tenant(spool_bytes=10)
    ended, lives = world.admit(caller), world.admit(caller)
    world.limiter.hold(ended, "spool_bytes", 5)
    world.limiter.hold(lives, "spool_bytes", 5)
    world.settle(ended, {})
    world.limiter.hold(ended, "spool_bytes", -5)

    assert world.state.total["spool_bytes"] == world.state.tenants["acme"]["spool_bytes"] == 5


def test_what_is_given_back_is_held_no_more_and_never_less_than_nothing(world: World) -> None:
    admission = world.admit(tenant(streams=1))
    world.limiter.hold(admission, "streams", 1)
    world.limiter.hold(admission, "streams", -2)

    assert world.state.total == world.state.tenants["acme"] == {"in_flight": 1}


def test_who_came_to_nothing_holds_nothing_and_takes_nothing_more(world: World) -> None:
    admission = world.admit(tenant())
    world.limiter.drop(admission)
    world.limiter.hold(admission, "streams", 1)

    assert world.idle


def test_a_body_that_would_fit_if_the_others_were_gone_is_worth_a_retry(world: World) -> None:
    caller = tenant(body_bytes=10)
    world.limiter.hold(world.admit(caller), "body_bytes", 1)
    admission = world.admit(caller)

    assert limit_of(lambda: world.limiter.hold(admission, "body_bytes", 10)).kind == "body_bytes"


def test_a_body_that_can_never_fit_is_too_large_and_not_worth_a_retry(world: World) -> None:
    admission = world.admit(tenant(body_bytes=10))
    world.limiter.hold(admission, "body_bytes", 8)

    with pytest.raises(TooLarge):
        world.limiter.hold(admission, "body_bytes", 3)
