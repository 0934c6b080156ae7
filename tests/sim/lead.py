"""How far ours is ahead of the best rival on a random fleet, and how sure that is.

What comes to a fleet is drawn, too, and a run sees two minutes of it: the same fleet with other
arrivals gives another figure, by a point or more where load is high and engines are few.  So a
fleet is looked at with arrivals drawn again and again, and what counts is the mean of the leads.
Rivals get the same arrivals, and the best of them is taken anew each time, so that chance is on
their side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from math import inf, sqrt

from sim.baselines import RIVALS
from sim.ours import Ours
from sim.world import World, random_scenario

AGAIN = 100_003  # seeds of arrivals are so far from each other
LEAST = 3  # draws that tell how far they are apart
NOISE = 0.5  # points: a mean that is known as well as this says what a fleet is like


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """In points of promises kept, by the draws of arrivals; under 0 the best rival is ahead."""

    fleet: int
    draws: tuple[float, ...]
    best: str  # of the first draw

    @property
    def mean(self) -> float:
        """Of all draws."""
        return sum(self.draws) / len(self.draws)

    @property
    def spread(self) -> float:
        """Of a single draw (a standard deviation); of one alone nobody knows."""
        if len(self.draws) < 2:
            return inf
        squares = sum((each - self.mean) ** 2 for each in self.draws)
        return sqrt(squares / (len(self.draws) - 1))

    @property
    def noise(self) -> float:
        """Of the mean (its standard error)."""
        return self.spread / sqrt(len(self.draws))


def leads(fleet: int, told_each_s: float | None = None) -> Iterator[Lead]:
    """With one draw of arrivals, with two, and so on."""
    drawn, best = random_scenario(fleet), ""
    draws: tuple[float, ...] = ()
    for draw in count():
        scenario = replace(drawn, seed=drawn.seed + AGAIN * draw)
        rivals = {
            name: World(scenario, make(scenario)).run().kept() for name, make in RIVALS.items()
        }
        best = best or max(rivals, key=lambda name: rivals[name])
        ours = World(scenario, Ours(scenario, told_each_s=told_each_s)).run().kept()
        draws = (*draws, ours - max(rivals.values()))
        yield Lead(fleet=fleet, draws=draws, best=best)


def lead(fleet: int, *, draws: int) -> Lead:
    """With so many draws."""
    return next(islice(leads(fleet), draws - 1, None))


def settled(fleet: int, *, most: int, told_each_s: float | None = None) -> Lead:
    """With as many draws as tell how it is: the noise is low, or small beside a lead."""
    return next(
        found
        for found in leads(fleet, told_each_s)
        if len(found.draws) >= most
        or (len(found.draws) >= LEAST and (found.noise <= NOISE or found.mean > 4 * found.noise))
    )
