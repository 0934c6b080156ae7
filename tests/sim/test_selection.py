"""The pick keeps its promises in the simulated world, where others do not.

The whole of it is `python bench/sim.py`; these are the runs that a build has time for.
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from sim.baselines import BASELINES
from sim.ours import Ours
from sim.world import FULL_RATE, Fault, Result, Scenario, World, random_scenario

UNSEEN = (101, 102)
PUBLISHED = {"round robin": 59.2, "least requests": 71.8, "peak EWMA": 73.0, "EPP-like": 93.4}


@lru_cache(maxsize=64)
def ran(policy: str, scenario: Scenario, view: bool = True) -> Result:
    if policy == "ours":
        return World(scenario, Ours(scenario, view=view)).run()
    return World(scenario, BASELINES[policy](scenario)).run()


def scenario(seed: int, gateways: int, load: float = 0.85, fault: Fault = "none") -> Scenario:
    return Scenario(rate_per_s=load * FULL_RATE, gateways=gateways, seed=seed, fault=fault)


@pytest.mark.parametrize("policy", PUBLISHED)
def test_baselines_do_as_well_as_was_published(policy: str) -> None:
    kept = ran(policy, scenario(1, 8)).kept()

    assert kept == pytest.approx(PUBLISHED[policy], abs=3.0)


def mean(policy: str, gateways: int, *, view: bool = True) -> float:
    """Over the unseen seeds."""
    runs = [ran(policy, scenario(seed, gateways), view).kept() for seed in UNSEEN]
    return sum(runs) / len(runs)


def test_one_gateway_keeps_its_promises() -> None:
    assert mean("ours", 1) >= 99.0


def test_eight_gateways_that_tell_each_other_keep_their_promises() -> None:
    assert mean("ours", 8) >= 97.0


def test_eight_gateways_that_know_nothing_of_each_other_keep_most() -> None:
    assert mean("ours", 8, view=False) >= 92.0


@pytest.mark.parametrize("policy", ["least requests", "peak EWMA"])
def test_policies_that_are_blind_to_size_keep_less_than_four_in_five(policy: str) -> None:
    assert mean(policy, 8) < 80.0


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_on_no_fleet_is_a_baseline_much_better(seed: int) -> None:
    drawn = random_scenario(seed)
    best = max(ran(policy, drawn).kept() for policy in BASELINES)

    assert ran("ours", drawn).kept() >= best - 2.0


def test_an_engine_that_fails_fast_wastes_few_attempts() -> None:
    result = ran("ours", scenario(1, 8, 0.7, "failing"))

    assert result.failed / result.attempts < 0.02
    assert result.kept() >= 96.0


def test_common_prompts_are_read_where_they_were_read_before() -> None:
    drawn = Scenario(rate_per_s=0.95 * FULL_RATE, prefixes=True)
    home = ran("ours", drawn)
    anywhere = World(drawn, Ours(drawn, affinity=False)).run()

    assert home.kept() >= 97.0
    assert home.read_tokens < 0.75 * anywhere.read_tokens


def test_a_pick_that_looks_at_nothing_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgate.fleet.pick.least", lambda seats, predicted, rng: seats[0])
    drawn = scenario(UNSEEN[0], 1)

    assert World(drawn, Ours(drawn)).run().kept() < 99.0
