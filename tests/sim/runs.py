"""Runs of the simulated world that several tests look at; each is made once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sim.baselines import RIVALS
from sim.ours import Ours
from sim.world import FULL_RATE, Fault, Result, Scenario, World

UNSEEN = range(101, 111)  # seeds that nothing was tuned on
SLOWEST_S = 0.25  # between two frames of a gateway


@lru_cache(maxsize=256)
def ran(
    policy: str, scenario: Scenario, view: bool = True, told_each_s: float | None = None
) -> Result:
    """One run of `ours` or a rival."""
    if policy == "ours":
        return World(scenario, Ours(scenario, view=view, told_each_s=told_each_s)).run()
    return World(scenario, RIVALS[policy](scenario)).run()


def scenario(seed: int, gateways: int = 8, load: float = 0.85, fault: Fault = "none") -> Scenario:
    """The twelve engines of the table."""
    return Scenario(rate_per_s=load * FULL_RATE, gateways=gateways, seed=seed, fault=fault)


def mean(values: Sequence[float]) -> float:
    """Of these."""
    return sum(values) / len(values)
