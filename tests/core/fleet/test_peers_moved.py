"""What one gateway tells moves what counts to where putting all together anew would have it."""

from __future__ import annotations

import random

import pytest

from modgate.api.select import Backend
from modgate.fleet.fleet import Fleet
from modgate.fleet.peers import Peers
from modgate.fleet.pick import Wanted
from modgate.fleet.pool import Pool
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms

WALL = 1_800_000_000.0
BACKENDS = [
    Backend(name=name, family="home", url=f"http://{name}:8000", serves={"m": "e"}, slots=8)
    for name in "abc"
]


class Gateway:
    """A gateway before the same three engines as the others."""

    def __init__(self, number: int) -> None:
        self.fleet = Fleet(BACKENDS, FleetState(), groups={}, rng=random.Random(number))
        self.peers = Peers(number, f"g{number}")
        self.peers.use(self.fleet.pools, 0.0)

    @property
    def pool(self) -> Pool:
        return self.fleet.pools["m"]

    def something(self, here: Gateway, now: float, rng: random.Random) -> None:
        """A call begins or ends here, or it tells of its calls."""
        what, work = rng.randrange(4), rng.uniform(1, 100)
        if what == 0:
            for seat in (seat for seat in self.pool.seats if seat.slots.taken):
                seat.give(work)
        elif what == 1:
            choice = self.pool.choose(
                self.pool.seats, Wanted(work=work, terms=Terms(slo="gold")), now, rng
            )
            if choice is not None:
                choice.seat.take(work)
        else:
            here.peers.hear(self.peers.frame(now, WALL), now, WALL)

    def counted(self) -> list[tuple[int, int, float]]:
        """Of each engine what others have in hand: calls, this one's share, and work."""
        seats = self.pool.seats
        return [(s.slots.elsewhere, s.slots.share, s.standing.elsewhere) for s in seats]


@pytest.mark.parametrize("seed", range(20))
def test_hearing_one_is_as_settling_all(seed: int) -> None:
    rng = random.Random(seed)
    here, *others = gateways = [Gateway(number) for number in range(1, 5)]
    for each in others:
        here.peers.hear(each.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)
    for step in range(80):
        rng.choice(gateways).something(here, step * 0.01, rng)
    moved = here.counted()
    here.peers.settle(0.8)

    assert any(calls for calls, _, _ in moved)
    assert moved == [pytest.approx(each) for each in here.counted()]
