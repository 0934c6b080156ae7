"""Engines that others send to as well, who tell nobody: what their own metrics are good for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modgate.api.vitals import Load
from sim.ours import Ours
from sim.runs import UNSEEN, mean
from sim.world import FULL_RATE, Ask, Scenario, World

# It only computes, for as long as a busy machine takes; this is for what would never end.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCRAPE_S = 1.0
CROWDED, WANDERS, STAYS_S = 2, 4, 10.0
STRANGER = 2  # of three gateways


class Shared:
    """This gateway, and a stranger that sends a third of all.

    To two fast engines by turns, or, if it `wanders`, to one of four for ten seconds each.
    `scrapes`: the gateway reads each second what engines say of themselves.
    """

    def __init__(self, scenario: Scenario, *, scrapes: bool, wanders: bool) -> None:
        self.ours = Ours(replace(scenario, gateways=1))
        self.scrapes = scrapes
        self.wanders = wanders
        self.turn = 0
        self.due = 0.0

    def choose(self, ask: Ask, tried: frozenset[int], now: float) -> int:
        """The stranger's as it likes, ours by the pick."""
        if ask.gateway == STRANGER:
            self.turn += 1
            return int(now / STAYS_S) % WANDERS if self.wanders else self.turn % CROWDED
        ask.gateway = 0
        return self.ours.choose(ask, tried, now)

    def first(self, ask: Ask, now: float) -> None:
        """The first token."""
        if ask.gateway != STRANGER:
            self.ours.first(ask, now)

    def ended(self, ask: Ask, now: float, *, ok: bool) -> None:
        """The end."""
        if ask.gateway != STRANGER:
            self.ours.ended(ask, now, ok=ok)

    def tick(self, world: World, now: float) -> None:
        """A scrape, when it is due."""
        if not self.scrapes or now < self.due:
            return
        self.due = now + SCRAPE_S
        for engine, seat in zip(world.engines, self.ours.gateways[0].seats, strict=True):
            running = len(engine.running) + (engine.reading is not None)
            load = Load(running=running, waiting=len(engine.waiting))
            seat.health.heard(load, seat.slots.taken, now, SCRAPE_S)


def kept(*, scrapes: bool, wanders: bool) -> float:
    """Per cent of our promises, over three seeds."""
    shares = []
    for seed in UNSEEN[:3]:
        scenario = Scenario(seed=seed, gateways=3, rate_per_s=0.8 * FULL_RATE)
        policy = Shared(scenario, scrapes=scrapes, wanders=wanders)
        ours = [ask for ask in World(scenario, policy).run().asks if ask.gateway != STRANGER]
        shares.append(100.0 * sum(ask.kept for ask in ours) / len(ours))
    return mean(shares)


def test_strangers_that_come_and_go_are_seen_by_what_engines_say() -> None:
    assert kept(scrapes=True, wanders=True) >= 99.0
    assert kept(scrapes=False, wanders=True) < 95.0


def test_strangers_that_stay_are_learned_of_and_what_engines_say_does_no_harm() -> None:
    assert kept(scrapes=False, wanders=False) >= 99.5
    assert kept(scrapes=True, wanders=False) >= 99.5
