"""The policies that ours is compared with, by the rules and parameters of their products.

They are models of those policies, not the products.  Each gateway knows what it sent itself; the
EPP-like one knows what engines report, as all its replicas do.

Source: algorithms.md 1 (Finagle PeakEwma, Envoy least request, Gateway API inference extension);
Finagle's `PeakEwma.scala`, whose `get` observes 0.
"""

from __future__ import annotations

import random
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.world import Ask, Scenario, World

DECAY_S = 10.0
UNKNOWN_COST_S = 1e9
FIRST_COST_S = 0.1
EJECTED_S = 30.0
FAILURES = 5
FAILURE_COST_S = 1.0


class Baseline:
    """What the baselines share: choices of a gateway, and ejection after five failures in a row."""

    def __init__(self, scenario: Scenario, *, ejects: bool = True) -> None:
        self.count = len(scenario.kinds)
        self.rng = random.Random(scenario.seed + 77)
        self.ejects = ejects
        self.failures = [[0] * self.count for _ in range(scenario.gateways)]
        self.out_until = [[0.0] * self.count for _ in range(scenario.gateways)]
        self.pending = [[0] * self.count for _ in range(scenario.gateways)]

    def choose(self, ask: Ask, tried: frozenset[int], now: float) -> int:
        """Of those that are not ejected and did not fail it."""
        out = self.out_until[ask.gateway]
        live = [e for e in range(self.count) if e not in tried and out[e] <= now]
        engine = self.pick(ask, live or list(range(self.count)), now)
        self.pending[ask.gateway][engine] += 1
        return engine

    def pick(self, ask: Ask, live: list[int], now: float) -> int:
        """One of these."""
        raise NotImplementedError  # each policy has its own

    def first(self, ask: Ask, now: float) -> None:
        """Its first token came."""

    def ended(self, ask: Ask, now: float, *, ok: bool) -> None:
        """Count it."""
        self.pending[ask.gateway][ask.engine] -= 1
        failures = self.failures[ask.gateway]
        failures[ask.engine] = 0 if ok else failures[ask.engine] + 1
        if self.ejects and failures[ask.engine] >= FAILURES:
            failures[ask.engine] = 0
            self.out_until[ask.gateway][ask.engine] = now + EJECTED_S

    def tick(self, world: World, now: float) -> None:
        """Nothing."""


class RoundRobin(Baseline):
    """One after the other."""

    def __init__(self, scenario: Scenario, *, ejects: bool = True) -> None:
        super().__init__(scenario, ejects=ejects)
        self.turn = [self.rng.randrange(self.count) for _ in range(scenario.gateways)]

    def pick(self, ask: Ask, live: list[int], now: float) -> int:
        """The next that is live."""
        while True:
            self.turn[ask.gateway] = (self.turn[ask.gateway] + 1) % self.count
            if self.turn[ask.gateway] in live:
                return self.turn[ask.gateway]


class LeastRequests(Baseline):
    """Of two at random the one with fewer requests in hand (Envoy's default)."""

    def pick(self, ask: Ask, live: list[int], now: float) -> int:
        """Of two."""
        mine = self.pending[ask.gateway]
        return min(self.rng.sample(live, min(2, len(live))), key=lambda e: mine[e])


class PeakEwma(Baseline):
    """Of two at random the one of least cost times requests in hand.

    The cost leaps to a worse time and decays to better ones, with a time constant of 10 s.  To look
    at it is to observe a time of nothing, so it decays by the clock; an engine of which nothing is
    known gets one request, and no other before that has ended.
    """

    def __init__(self, scenario: Scenario, *, ejects: bool = True) -> None:
        super().__init__(scenario, ejects=ejects)
        self.cost = [[0.0] * self.count for _ in range(scenario.gateways)]
        self.at = [[0.0] * self.count for _ in range(scenario.gateways)]

    def pick(self, ask: Ask, live: list[int], now: float) -> int:
        """Of two."""
        two = self.rng.sample(live, min(2, len(live)))
        return min(two, key=lambda engine: self.load(ask.gateway, engine, now))

    def load(self, gateway: int, engine: int, now: float) -> float:
        """What is compared."""
        self.observed(gateway, engine, 0.0, now)
        cost, pending = self.cost[gateway][engine], self.pending[gateway][engine]
        return cost * (pending + 1) if cost or not pending else UNKNOWN_COST_S + pending

    def ended(self, ask: Ask, now: float, *, ok: bool) -> None:
        """Its whole time is the observation; a failure is one of a second."""
        super().ended(ask, now, ok=ok)
        seen = now - ask.came_s if ok else FAILURE_COST_S
        self.observed(ask.gateway, ask.engine, seen, now)

    def observed(self, gateway: int, engine: int, seen: float, now: float) -> None:
        """Finagle's rule."""
        cost, at = self.cost[gateway], self.at[gateway]
        weight = exp(-(now - at[engine]) / DECAY_S)
        at[engine] = now
        if seen > cost[engine]:
            cost[engine] = seen
        else:
            cost[engine] = cost[engine] * weight + seen * (1 - weight)


class PatientEwma(PeakEwma):
    """The same, but only what ends is observed: no product's rule, and better in this world."""

    def __init__(self, scenario: Scenario, *, ejects: bool = True) -> None:
        super().__init__(scenario, ejects=ejects)
        self.cost = [[FIRST_COST_S] * self.count for _ in range(scenario.gateways)]

    def load(self, gateway: int, engine: int, now: float) -> float:
        """What is compared."""
        return self.cost[gateway][engine] * (self.pending[gateway][engine] + 1)


class EppLike(Baseline):
    """The engine with the best sum of queue and cache scores, as scraped each 50 ms."""

    def __init__(self, scenario: Scenario, *, ejects: bool = True) -> None:
        super().__init__(scenario, ejects=ejects)
        self.queued = [0] * self.count
        self.used = [0.0] * self.count

    def tick(self, world: World, now: float) -> None:
        """What engines report; a cache is as full as its places are taken."""
        for number, engine in enumerate(world.engines):
            self.queued[number] = len(engine.waiting) + (engine.reading is not None)
            self.used[number] = len(engine.running) / engine.kind.slots

    def pick(self, ask: Ask, live: list[int], now: float) -> int:
        """Scores from 0 to 1, the queue's between the shortest and the longest; ties by lot."""
        least = min(self.queued[e] for e in live)
        most = max(self.queued[e] for e in live)
        span = max(1, most - least)
        best = [
            ((most - self.queued[e]) / span + 1 - self.used[e], self.rng.random(), e) for e in live
        ]
        return max(best)[2]


BASELINES = {
    "round robin": RoundRobin,
    "least requests": LeastRequests,
    "peak EWMA": PeakEwma,
    "EPP-like": EppLike,
}
RIVALS = {**BASELINES, "peak EWMA, patient": PatientEwma}
