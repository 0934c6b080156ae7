"""The gateway's own classes in the simulated world: what is driven here is what production runs."""

from __future__ import annotations

import random

from modgate.fleet.affinity import key_of
from modgate.fleet.cadence import tells_each_s
from modgate.fleet.health import Health
from modgate.fleet.peers import Peers
from modgate.fleet.pick import Choice, Wanted, candidates
from modgate.fleet.pool import Pool
from modgate.fleet.promise import Promise
from modgate.fleet.slots import Seat, Slots, seed_of
from modgate.fleet.standing import Standing
from modgate.fleet.terms import Explores, Terms
from sim.world import Ask, Scenario, World

PLENTY = 100_000
TICK_S = 0.05
FIRST_OUTPUT = 200.0
LEARNS = 0.02


class Gateway:
    """One gateway's seats over the engines of the world."""

    def __init__(self, scenario: Scenario, number: int, *, exact: bool) -> None:
        self.rng = random.Random(scenario.seed * 1009 + number)
        self.seats = [_seat(f"e{at}", kind.slots) for at, kind in enumerate(scenario.kinds)]
        self.pool = Pool(self.seats, exact=exact)
        self.peers = Peers(number + 1)
        self.peers.use({"m": self.pool}, 0.0, heard=exact)
        self.output = FIRST_OUTPUT
        self.explorers = random.Random(scenario.seed * 31 + number)


def _seat(name: str, slots: int) -> Seat:
    return Seat(
        backend=name,
        region="",
        slots=Slots(limit=slots),
        health=Health(),
        standing=Standing(),
        seed=seed_of(name),
        key=name,
    )


class Ours:
    """The policy of this gateway.

    `view`: the gateways tell each other what they have in hand, each `told_each_s` (None: as often
    as so many of them do), none at the same time as another; `lost`: the share of frames that does
    not arrive.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        view: bool = True,
        ejects: bool = True,
        affinity: bool = True,
        told_each_s: float | None = None,
        lost: float = 0.0,
    ) -> None:
        self.gateways = [
            Gateway(scenario, number, exact=scenario.gateways == 1)
            for number in range(scenario.gateways)
        ]
        self.promises: dict[int, Promise] = {}
        self.view = view and scenario.gateways > 1
        self.ejects = ejects
        self.affinity = affinity
        self.ticks = 0
        rule_s = tells_each_s(len(scenario.kinds), scenario.gateways)
        self.told_each = round((rule_s if told_each_s is None else told_each_s) / TICK_S)
        self.lost = lost
        self.losses = random.Random(scenario.seed * 77 + 5)
        self.why: dict[str, int] = {}

    def choose(self, ask: Ask, tried: frozenset[int], now: float) -> int:
        """By the pick, as dispatch does."""
        gateway = self.gateways[ask.gateway]
        explores: Explores = "first" if gateway.explorers.random() < 0.3 else "late"
        terms = Terms(
            slo="silver",
            phase="first_byte",
            serial=True,
            target_s=ask.target_s,
            between_s=0.06,
            read=float(ask.prompt),
            explores=explores,
            objective=0.95,
        )
        if ask.prefix >= 0 and self.affinity:
            terms.affinity = key_of("t", "m", ask.prefix.to_bytes(2, "big"))
        wanted = Wanted(
            work=ask.prompt + gateway.output,
            tried=frozenset(f"e{number}" for number in tried),
            terms=terms,
        )
        choice = self._chosen(gateway, wanted, now)
        self.why[choice.why] = self.why.get(choice.why, 0) + 1
        self.promises[ask.number] = Promise(choice, wanted.work, terms, now)
        return gateway.seats.index(choice.seat)

    def _chosen(self, gateway: Gateway, wanted: Wanted, now: float) -> Choice:
        """Where every slot is taken a call waits at its engine: this world has no other queue."""
        seats = candidates(gateway.seats, wanted)
        choice = gateway.pool.choose(seats, wanted, now, gateway.rng)
        if choice is not None:
            return choice
        limits = [seat.slots.limit for seat in seats]
        for seat in seats:
            seat.slots.declare(PLENTY, None)
        choice = gateway.pool.choose(seats, wanted, now, gateway.rng)
        for seat, limit in zip(seats, limits, strict=True):
            seat.slots.declare(limit, None)
        assert choice is not None
        return choice

    def first(self, ask: Ask, now: float) -> None:
        """The first event."""
        self.promises[ask.number].first(now)

    def ended(self, ask: Ask, now: float, *, ok: bool) -> None:
        """The end of an attempt."""
        promise = self.promises.pop(ask.number)
        gateway, health = self.gateways[ask.gateway], promise.seat.health
        promise.end(now, ok=ok, events=ask.output)
        if ok:
            gateway.output += LEARNS * (ask.output - gateway.output)
            health.succeeded(now)
        elif self.ejects and health.failed(now, refused=False):
            health.eject(now, gateway.rng.random)

    def tick(self, world: World, now: float) -> None:
        """Every gateway tells every other, each in its turn."""
        if not self.view:
            return
        self.ticks += 1
        for number, gateway in enumerate(self.gateways):
            if (self.ticks + number) % self.told_each:
                continue
            gateway.peers.settle(now)
            frame = gateway.peers.frame(now, now)
            for other in self.gateways:
                if self.losses.random() >= self.lost:
                    other.peers.hear(frame, now, now)
