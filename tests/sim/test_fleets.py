"""On no random fleet is a baseline much better; `python bench/sim.py` runs a hundred of them."""

from __future__ import annotations

import pytest

from sim.baselines import RIVALS
from sim.ours import Ours
from sim.runs import mean, ran
from sim.world import World, random_scenario

FLEETS = (1000, 1001, 1051, 1063, 1099)
HARD = (1035, 1094, 1098)  # several gateways, few engines, 80 % load and more
LOTS = 2  # what is drawn by lot makes a point there, so the mean of some is compared


@pytest.mark.parametrize(
    ("seed", "lots"), [*((seed, 1) for seed in FLEETS), *((seed, LOTS) for seed in HARD)]
)
def test_on_no_fleet_is_a_baseline_much_better(seed: int, lots: int) -> None:
    drawn = random_scenario(seed)
    best = max(ran(policy, drawn).kept() for policy in RIVALS)
    ours = [World(drawn, Ours(drawn, lots=each)).run().kept() for each in range(lots)]

    assert mean(ours) >= best - 2.0
