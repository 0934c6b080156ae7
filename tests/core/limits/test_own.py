from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.limits.account import OwnAccount
from modgate.limits.levels import Levels, Limit

TTL_MS = 60_000
LIMITS = (
    Limit(key="{acme}:a", kind="b", amount=7, period_ms=1000, burst=7),
    Limit(key="{acme}:b", kind="b", amount=600, period_ms=60_000, burst=600),
    Limit(key="{acme}:w", kind="w", amount=300, period_ms=3_600_000),
)
COUNTS = st.integers(min_value=0, max_value=800)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "charge"]),
        st.sets(st.integers(min_value=0, max_value=2), min_size=1),
        st.lists(COUNTS, min_size=3, max_size=3),
        st.integers(min_value=-50, max_value=9000),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(STEPS)
def test_a_gateway_alone_and_the_store_have_the_same_levels(
    steps: list[tuple[str, set[int], list[int], int]],
) -> None:
    own, store, open_ = OwnAccount(), Levels(), []
    now_ms = 1_000_000
    for number, (what, which, counts, later_ms) in enumerate(steps):
        now_ms += later_ms
        wanted = [(LIMITS[at], counts[at]) for at in sorted(which)]
        if what == "reserve":
            denied = own.reserve(number, wanted, now_ms)
            assert store.reserve(str(number), wanted, now_ms, TTL_MS) == denied
            if denied is None:
                open_.append((number, wanted))
        elif what == "charge":
            for limit, count in wanted:
                own.charge(limit, count, now_ms)
                store.charge(limit, count, now_ms)
        elif open_:
            rid, reserved = open_.pop(0)
            actual = counts[: len(reserved)]
            own.settle(rid, reserved, actual, now_ms)
            assert store.settle(str(rid), actual, now_ms)
        for limit in LIMITS:
            assert own.level(limit, now_ms) == store.level(limit, now_ms)
            assert own.wait_ms(limit, 5, now_ms) == store.wait_ms(limit, 5, now_ms)

    assert own.sizes()[1] == len(open_)
