from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs.limits import World, tenant

from modgate.errors import GatewayError
from modgate.limits.admission import Admission
from modgate.units import Units

CALLER = tenant(
    ("requests", 400, "minute"),
    ("llm.output_tokens", 5_000, "minute"),
    ("llm.output_tokens", 200_000, "day"),
    in_flight=20,
)


def test_a_hundred_reloads_under_load_admit_no_extra_unit() -> None:
    world = World()
    began, granted, refused, live = world.now, 0, 0, []
    for turn in range(4_000):
        if turn % 40 == 0:
            world.reload()
        world.sleep(0.02)
        if len(live) > 10:
            world.settle(live.pop(0), {"llm.output_tokens": 50})
        admission = None
        try:
            admission = world.admit(CALLER)
            world.reserve(admission, Units(output_tokens=50))
        except GatewayError:
            refused += 1
            if admission is not None:
                world.settle(admission, {})
        else:
            granted += 50
            live.append(admission)

    assert refused > 100
    assert granted <= 5_000 + 5_000 / 60 * (world.now - began)
    assert granted >= 0.9 * (5_000 + 5_000 / 60 * (world.now - began))


def test_a_reload_gives_no_request_the_reservation_of_another() -> None:
    world, made = World(), []
    for _ in range(200):
        world.reload()
        made.append(world.admit(tenant()).rid)

    assert len(set(made)) == 200


def test_a_request_that_began_before_a_reload_settles_after_it() -> None:
    world = World()
    admission, limiter = world.admit(CALLER), world.limiter
    world.reserve(admission, Units(output_tokens=800))
    world.reload()
    limiter.settle(admission, {"llm.output_tokens": 100}, now=world.now)

    assert world.idle
    assert world.left(CALLER) == {"requests": 399, "output_tokens": 199_900}


def test_another_amount_keeps_the_level() -> None:
    world = World()
    small, large = (tenant(("llm.output_tokens", n, "minute")) for n in (100, 1_000))
    world.spend(small, Units(output_tokens=60))
    world.reload()
    assert world.left(large) == {"output_tokens": 940}

    world.spend(large, Units(output_tokens=440))
    world.reload()

    assert world.left(small) == {"output_tokens": 0}


def test_what_idle_tenants_left_behind_goes() -> None:
    world = World()
    for index in range(500):
        caller = tenant(("requests", 10, "second"), name=f"t{index}", in_flight=3)
        world.settle(world.admit(caller), {})
        world.sleep(0.01)
    world.sleep(60)
    world.settle(world.admit(CALLER), {})

    assert world.idle
    assert world.state.levels.sizes() == (1, 0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["admit", "hold", "reserve", "top_up", "touch", "settle", "again"]),
        st.integers(0, 10),
        st.integers(1, 3_000),
    ),
    max_size=60,
)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=150)
@given(steps)
def test_whatever_happens_all_that_was_charged_is_what_was_settled(
    todo: list[tuple[str, int, int]],
) -> None:
    world = World()
    caller = tenant(
        ("llm.output_tokens", 10_000, "minute"),
        ("llm.output_tokens", 40_000, "month"),
        ("llm.requests", 30, "month"),
        in_flight=5,
        body_bytes=4_000,
    )
    live: list[Admission] = []
    sums: Counter[str] = Counter()
    reserved: set[int] = set()
    for what, index, size in todo:
        try:
            if what == "admit":
                live.append(world.admit(caller))
            elif live:
                _act(world, live[index % len(live)], what, size, sums, reserved)
        except GatewayError:
            continue
    for admission in live:
        _act(world, admission, "settle", 7, sums, reserved)

    views = world.views(caller)
    assert views[1].remaining == max(0, 40_000 - sums["units"])
    assert views[0].remaining == max(0, 10_000 - sums["units"])
    assert views[2].remaining == max(0, 30 - len(reserved))
    assert world.idle


def _act(
    world: World,
    admission: Admission,
    what: str,
    size: int,
    sums: Counter[str],
    reserved: set[int],
) -> None:
    if what == "hold":
        world.limiter.hold(admission, "body_bytes", size)
    elif what == "touch":
        world.limiter.touch(admission, {"llm.output_tokens": size})
    elif what in ("reserve", "top_up") and not admission.settled:
        first = not any(name == "llm.requests" for name in admission.requests)
        if what == "top_up" or not first:
            world.top_up(admission, Units(output_tokens=size))
        else:
            world.reserve(admission, Units(output_tokens=size))
            reserved.add(admission.rid)
    elif what in ("settle", "again"):
        if not admission.settled:
            sums["units"] += size
        world.settle(admission, {"llm.output_tokens": size})
