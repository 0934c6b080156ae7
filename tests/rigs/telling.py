"""A gateway with a fleet that tells others what it has in hand, as the tests of peers have it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from modgate.api.select import Backend
from modgate.fleet.fleet import Fleet
from modgate.fleet.peers import Peers
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms

ENGINES = ("a", "b", "c")
WALL = 1_800_000_000.0
TERMS = Terms(slo="gold", serial=False)


def backend(name: str, *, slots: int = 8, socket: str = "") -> Backend:
    return Backend(
        name=name,
        family="home",
        url=f"http://{name}:8000",
        serves={"m": "e", "n": "e", "o": "f"},
        slots=slots,
        socket=socket,
    )


@dataclass(eq=False)
class Gateway:
    """A gateway with a fleet, and what it has in hand."""

    number: int
    engines: Sequence[str] = ENGINES
    state: FleetState = field(default_factory=FleetState)

    def __post_init__(self) -> None:
        self.peers = Peers(self.number, f"g{self.number}")
        self.reload(self.engines, 0.0)

    def reload(self, engines: Sequence[str], now: float) -> None:
        """Another snapshot, of these engines, over the same state."""
        backends = [backend(name) for name in engines]
        self.fleet = Fleet(backends, self.state, groups={}, rng=random.Random(1))
        self.peers.use(self.fleet.pools, now)

    def take(self, model: str, engine: str, work: float) -> None:
        """A call goes there."""
        for seat in self.fleet.pools[model].seats:
            if seat.backend == engine:
                seat.take(work)

    def elsewhere(self) -> dict[str, tuple[int, float]]:
        """By engine what others have in hand there: calls, and work of all models."""
        found = {}
        for name in ENGINES:
            identity = backend(name).identity
            slots = self.state.slots.get(identity)
            works = [s.elsewhere for key, s in self.state.standings.items() if key[0] == identity]
            found[name] = (slots.elsewhere if slots else 0, sum(works))
        return found


NOTHING = dict.fromkeys(ENGINES, (0, 0.0))
