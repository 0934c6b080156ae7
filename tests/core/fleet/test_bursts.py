"""A burst that comes between two frames of gateways, when none knows what the others send.

Source: field.md row 17 (max/mean at most 1.5).
"""

from __future__ import annotations

import random
from statistics import mean

import pytest

from modgate.api.select import Backend
from modgate.fleet.fleet import Fleet
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms

ENGINES, CALLS, WORK, BURSTS = 8, 64, 100.0, 40
NOW = 100.0
AT_MOST = 1.5


def gateway(told: int, others: int, seed: float) -> Fleet:
    """One that knows all engines well; others `told` it of so many calls at each but the first."""
    backends = [
        Backend(name=str(at), family="f", url=f"http://e{at}", serves={"m": "m"}, slots=1000)
        for at in range(ENGINES)
    ]
    made = Fleet(backends, FleetState(), groups={}, rng=random.Random(seed), now=lambda: NOW)
    pool = made.pools["m"]
    pool.exact, pool.others = not others, others
    for at, seat in enumerate(pool.seats):
        seat.standing.paces["first_byte"].learn(NOW, 1e-3)
        for _ in range(20):
            seat.health.succeeded(NOW)
        seat.standing.heard(WORK * told if at else 0.0)
        seat.slots.heard(told if at else 0, 0)
    return made


def uneven(gateways: int, told: int, seed: int) -> float:
    """How many times the mean of all engines the one has that has most, after a burst."""
    rng = random.Random(seed)
    them = [gateway(told, gateways - 1, rng.random()) for _ in range(gateways)]
    held = [told if at else 0 for at in range(ENGINES)]
    for _ in range(CALLS):
        terms = Terms(phase="first_byte", serial=True, target_s=30.0, longest_s=30.0)
        lease = rng.choice(them).at_once("m", Wanted(work=WORK, terms=terms))
        assert lease is not None
        held[int(lease.backend.name)] += 1
    return max(held) / mean(held)


@pytest.mark.parametrize("told", [0, 2, 8])
@pytest.mark.parametrize(("gateways", "beyond"), [(1, 0), (3, 0), (8, BURSTS // 20)])
def test_a_burst_spreads_though_all_heard_that_one_engine_is_idle(
    gateways: int, beyond: int, told: int
) -> None:
    found = [uneven(gateways, told, seed) for seed in range(BURSTS)]

    assert sum(each > AT_MOST for each in found) <= beyond
    assert max(found) < 1.75
