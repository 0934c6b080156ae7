"""More calls than engines can do, in the simulated world: who is served, and how many at once.

The tables are printed by `python bench/sim.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modgate.fleet.ranked import Ranked
from sim.crowd import UNLIMITED, Crowd, gate
from sim.overload import Fair, Fifo, Policy, Told, run

# It only computes, for as long as a busy machine takes; this is for what would never end.
pytestmark = pytest.mark.timeout(900)

SEEDS = (1, 2, 3)


def told(make: Callable[[], Policy], load: float) -> list[Told]:
    return [run(make(), load, seed=seed) for seed in SEEDS]


def worst_p95_s(found: list[Told]) -> float:
    return max(each.p95_s for each in found)


def test_quiet_tenants_hardly_notice_three_times_as_much_as_can_be_done() -> None:
    alone, flooded = told(Fair, 0.0), told(Fair, 3.0)

    assert worst_p95_s(flooded) <= 1.3 * worst_p95_s(alone)
    assert min(each.good for each in flooded) == 1.0


@pytest.mark.parametrize("load", [1.5, 3.0])
def test_what_is_done_is_done_in_time(load: float) -> None:
    assert min(each.goodput for each in told(Fair, load)) >= 0.9


@pytest.mark.slow
def test_who_would_be_late_is_refused_when_it_comes_and_no_slot_is_wasted_on_it() -> None:
    predicts, waits = told(Fair, 3.0), told(lambda: Fair(predicts=False), 3.0)

    assert min(each.goodput for each in waits) >= 0.75
    assert min(each.goodput for each in predicts) > max(each.goodput for each in waits)


@pytest.mark.slow
def test_first_come_first_served_fails_the_quiet_ones() -> None:
    """The world is one in which it matters."""
    drops, keeps = told(lambda: Fifo(drops=True), 3.0), told(lambda: Fifo(drops=False), 3.0)

    assert worst_p95_s(drops) > 4 * worst_p95_s(told(Fair, 3.0))
    assert max(each.goodput for each in keeps) < 0.05


def test_turns_in_the_wrong_order_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, right = told(Fair, 0.0), Ranked.set
    monkeypatch.setattr(
        Ranked, "set", lambda self, key, value, then=0.0: right(self, key, -value, then)
    )

    assert worst_p95_s(told(Fair, 3.0)) > 1.3 * worst_p95_s(alone)


@pytest.fixture(scope="module")
def goodput() -> dict[str, float]:
    """Good calls a second, by what limits how many an engine is given."""
    gates = {
        "unlimited": lambda: gate(UNLIMITED),
        **{f"static {limit}": (lambda limit=limit: gate(limit)) for limit in (16, 24, 32, 48)},
        "ours": lambda: gate(48, 48),
        "ours, from 32 up": lambda: gate(32, 512),
    }
    return {
        name: sum(Crowd(make(), seed=seed).goodput() for seed in SEEDS) / len(SEEDS)
        for name, make in gates.items()
    }


def test_a_limit_that_follows_targets_is_as_good_as_the_best_fixed_one(
    goodput: dict[str, float],
) -> None:
    best = max(value for name, value in goodput.items() if name.startswith("static"))

    assert goodput["ours"] >= 0.97 * best
    assert goodput["ours, from 32 up"] >= 0.97 * best


def test_what_was_declared_too_high_costs_most_where_nothing_moves_it(
    goodput: dict[str, float],
) -> None:
    assert goodput["static 48"] < 0.5 * goodput["ours"]
    assert goodput["unlimited"] < 0.1 * goodput["ours"]
