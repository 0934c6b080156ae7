"""Whatever a request does, in any order: each limit ends with what the calls that it is of used."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from rigs.limits import World

from modgate.api.auth import Caller, Limits, Policy, Rate
from modgate.errors import GatewayError
from modgate.limits.admission import Admission, Aside, Mark

UNITS = {
    "llm": ("llm.input_tokens", "llm.output_tokens"),
    "vlm": ("vlm.output_tokens",),
}
MODELS = {"m": "llm", "stand-in": "llm", "guard": "llm", "eyes": "vlm"}
Counts = dict[str, int]


@dataclass
class Reserved:
    """An aside: its model, and what it used."""

    model: str
    aside: Aside
    counts: Counts
    used: Counts = field(default_factory=dict)


def callers(rng: random.Random) -> Caller:
    """Limits on units and requests, of all models and of single ones, in force and in shadow."""
    names = [*UNITS["llm"], *UNITS["vlm"], "llm.requests"]
    rates = [
        Rate(
            unit=unit,
            amount=rng.choice((1000, 100_000)),
            period="day",
            model=rng.choice(("", *MODELS)),
            shadow=rng.random() < 0.5,
        )
        for unit in names
        for _ in range(rng.randrange(4))
    ]
    different = {(rate.unit, rate.model): rate for rate in rates}  # the others are one level
    return Caller(
        tenant="acme", key_id="k", policy=Policy(limits=Limits(rates=tuple(different.values())))
    )


class Life:
    """One request, and what it should have cost."""

    def __init__(self, rng: random.Random, world: World, caller: Caller) -> None:
        self.rng = rng
        self.world = world
        self.caller = caller
        self.admission: Admission = world.admit(caller)
        self.model = ""  # of the plan that is reserved
        self.planned: Counter[str] = Counter()
        self.marked: tuple[Mark, int] | None = None
        self.apart: list[Reserved] = []

    def counts(self, model: str) -> Counts:
        found = {name: self.rng.randrange(200) for name in UNITS[MODELS[model]]}
        return {name: n for name, n in found.items() if self.rng.random() < 0.8}

    def ask(self) -> None:
        model = self.rng.choice([*MODELS])
        counts = self.counts(model)
        try:
            aside = self.world.limiter.reserve_aside(
                self.admission, counts, modality=MODELS[model], model=model, now=self.world.now
            )
        except GatewayError:
            return
        made = Reserved(model, aside, counts)
        self.apart.append(made)
        if self.rng.random() < 0.5:
            made.used = aside.used = self.counts(model)

    def _reserve(self, model: str, requests: int) -> bool:
        counts = self.counts(model)
        try:
            self.world.limiter.reserve(
                self.admission,
                counts,
                modality="llm",
                model=model,
                requests=requests,
                now=self.world.now,
            )
        except GatewayError:
            return False
        self.planned.update(counts)
        return True

    def plan(self) -> None:
        model = self.rng.choice(("m", "stand-in"))
        self.marked = self.admission.mark(), len(self.apart)
        if self._reserve(model, 1):
            self.model = model

    def top_up(self) -> None:
        if self.model:
            self._reserve(self.model, 0)

    def take_back(self) -> None:
        """Nothing of the plan was fed, so no aside of its own was billed."""
        if self.marked is None:
            return
        mark, apart = self.marked
        if any(each.used for each in self.apart[apart:]):
            return
        self.world.limiter.take_back(self.admission, mark, now=self.world.now)
        del self.apart[apart:]
        self.planned.clear()
        self.model, self.marked = "", None

    def touch(self) -> None:
        self.world.limiter.touch(self.admission, self.used(self.counts("m")))

    def used(self, own: Counts) -> Counts:
        found = Counter(own)
        for each in self.apart:
            found.update(each.used)
        return dict(found)

    def end(self) -> Counter[tuple[str, str]]:
        """Settle it; what each (unit, model) should be charged, "" = of all models."""
        own = self.counts(self.model) if self.model else {}
        counted = self.rng.random() < 0.6
        due: Counter[tuple[str, str]] = Counter()
        shares = [(each.model, each.used) for each in self.apart]  # counted, whatever the plan was
        shares.append((self.model, own if counted else dict(self.planned)))
        for model, counts in shares:
            for unit, count in counts.items():
                due[unit, ""] += count
                due[unit, model] += count if model else 0
        if self.model:
            due["llm.requests", ""] = due["llm.requests", self.model] = 1
        self.world.settle(self.admission, self.used(own) if counted else None)
        return due


@pytest.mark.parametrize("seed", range(400))
def test_each_limit_ends_with_what_the_calls_that_it_is_of_used(seed: int) -> None:
    rng, world = random.Random(seed), World()
    caller = callers(rng)
    rates, due = caller.policy.limits.rates, Counter[tuple[str, str]]()
    for _ in range(3):
        try:
            life = Life(rng, world, caller)
        except GatewayError:
            continue
        steps = [life.ask, life.plan, life.top_up, life.take_back, life.touch]
        for _ in range(rng.randrange(9)):
            step = rng.choice(steps)
            if step != life.plan or not life.model:  # one plan at a time
                step()
        due.update(life.end())
    left = [view.remaining for view in world.views(caller)]

    assert left == [max(0, rate.amount - due[rate.unit, rate.model]) for rate in rates]
    assert world.idle
