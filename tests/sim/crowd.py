"""One engine that is asked for more than it can do, and is slow for a while: how many at once?

The engine is the one of `world.py`, and would take any number of calls: each reply that it writes
makes all of them slower.  A gateway gives it so many at once and lets the others wait, no longer
than their patience.  A call is good when its first token came in time after it was sent, and its
tokens were no further apart than 60 ms.

Source: algorithms.md 2.4.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from modgate.fleet.concurrency import Watch
from modgate.fleet.slots import Slots
from sim.world import Ask, Engine, Kind, Scenario, World

ENGINE = Kind(reads_per_s=20_000, base_s=0.012, each_s=0.001, slots=512)
RATE_PER_S = 5.4  # 1.6 times what it can do with 48 at once, which is as many as keep 60 ms
SLOWER = 2.5
PATIENCE_S = 5.0
BETWEEN_S = 0.060
UNLIMITED = 100_000


@dataclass(slots=True, kw_only=True)
class Gate:
    """What a gateway lets into the engine.  `slots`: production's own, and moved by it."""

    slots: Slots
    waiting: deque[Ask]
    sent_s: dict[int, float]
    watches: dict[int, Watch]


def gate(limit: int, most: int | None = None) -> Gate:
    """`most`: the limit moves up to so many; None = it stays."""
    slots = Slots(limit=limit)
    slots.declare(limit, most)
    return Gate(slots=slots, waiting=deque(), sent_s={}, watches={})


class Crowd(World):
    """The world, with calls that wait before the engine."""

    def __init__(self, gate: Gate, *, seed: int) -> None:
        scenario = Scenario(
            kinds=(ENGINE,),
            rate_per_s=RATE_PER_S,
            gateways=1,
            seconds=200.0,
            fault="slow",
            seed=seed,
        )
        super().__init__(scenario, self)
        self.gate = gate
        self.limits: list[tuple[float, int]] = []

    def choose(self, ask: Ask, tried: frozenset[int], now: float) -> int:
        """There is one engine."""
        del tried
        self.gate.slots.taken += 1
        self.gate.sent_s[ask.number] = now
        self.gate.watches[ask.number] = Watch(
            now, whole=False, target_s=ask.target_s, between_s=BETWEEN_S
        )
        return 0

    def first(self, ask: Ask, now: float) -> None:
        """Its first token came."""
        self.gate.watches[ask.number].first(now)

    def ended(self, ask: Ask, now: float, *, ok: bool) -> None:
        """Its slot is free again, and how it went is judged."""
        del ok
        slots = self.gate.slots
        slots.taken -= 1
        slots.saw(now, late=self.gate.watches.pop(ask.number).late(now, ask.output))
        self.limits.append((now, slots.limit))

    def tick(self, world: World, now: float) -> None:
        """Nothing is told to others."""

    def _happens(
        self, now: float, what: str, engine: Engine | None, ask: Ask | None, version: int
    ) -> int:
        if what == "came" and ask is not None:
            self.gate.waiting.append(ask)
            return self._let_in(now)
        ended = super()._happens(now, what, engine, ask, version)
        if what == "slower" and engine is not None:
            engine.slower = SLOWER
        return ended + self._let_in(now)

    def _let_in(self, now: float) -> int:
        """Those that have room; how many went away because they waited too long."""
        waiting, gone = self.gate.waiting, 0
        while waiting and (self.gate.slots.free or waiting[0].came_s + PATIENCE_S < now):
            ask = waiting.popleft()
            if ask.came_s + PATIENCE_S < now:
                gone += 1
            else:
                self._send(ask, now)
        return gone

    def goodput(self) -> float:
        """Good calls a second."""
        result = self.run()
        good = sum(self._good(ask) for ask in result.asks)
        return good / (0.9 * self.scenario.seconds)

    def _good(self, ask: Ask) -> bool:
        sent_s = self.gate.sent_s.get(ask.number)
        if sent_s is None or ask.ended_s < 0 or ask.first_s - sent_s > ask.target_s:
            return False
        return ask.output < 2 or (ask.ended_s - ask.first_s) / (ask.output - 1) <= BETWEEN_S
