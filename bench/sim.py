"""Selection and queueing in simulated worlds, the whole of it: `python bench/sim.py [fleets]`.

First, in seconds, who is served in overload and how many calls an engine is given.  Then tables of
SLO attainment: loads, views, faults and common prompts over ten seeds that nothing was
tuned on, and how far ours is ahead of the best rival on each of 100 random fleets.  About an hour
on one core; `tests/sim` holds the part that a build has time for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sim import crowd, overload
from sim.baselines import BASELINES
from sim.lead import settled
from sim.ours import Ours
from sim.runs import SLOWEST_S, mean
from sim.world import FAULT_FROM, FAULT_TO, FULL_RATE, Policy, Result, Scenario, World
from sim.world import random_scenario as drawn

SEEDS = range(101, 111)
FLEETS = 100
DRAWS_AT_MOST = 24

Make = Callable[[Scenario], Policy]

OURS: dict[str, tuple[int, Make]] = {
    "ours, one host": (1, Ours),
    "ours, 8 gateways that tell": (8, Ours),
    "ours, 8, each 250 ms": (8, lambda scenario: Ours(scenario, told_each_s=SLOWEST_S)),
    "ours, 8 that know nothing": (8, lambda scenario: Ours(scenario, view=False)),
}
POLICIES: dict[str, tuple[int, Make]] = {
    **OURS,
    **{f"{name}, 8 gateways": (8, kind) for name, kind in BASELINES.items()},
}


def runs(make: Make, scenarios: Sequence[Scenario]) -> list[Result]:
    """One run each."""
    return [World(scenario, make(scenario)).run() for scenario in scenarios]


def loads() -> None:
    """Attainment by load: the mean of the seeds, the worst seed, and P99 of the first token."""
    print("\nSLO attainment %, mean (worst seed), P99 s to the first token")
    for name, (gateways, make) in POLICIES.items():
        cells = []
        for load in (0.70, 0.85, 0.95):
            found = runs(
                make,
                [Scenario(rate_per_s=load * FULL_RATE, gateways=gateways, seed=s) for s in SEEDS],
            )
            kept = [result.kept() for result in found]
            late = mean([result.first_s(0.99) for result in found])
            cells.append(f"{load:.0%}: {mean(kept):5.1f} ({min(kept):5.1f}) {late:6.2f}")
        print(f"{name:32s} {'   '.join(cells)}", flush=True)


def faults() -> None:
    """Attainment while something is wrong, and attempts that were wasted."""
    print("\nwhile one fast engine is 6x slower, fails at once, or two stall (70 % load)")
    for name, (gateways, make) in POLICIES.items():
        cells = []
        for fault in ("slow", "failing", "stalls"):
            found = runs(
                make,
                [
                    Scenario(rate_per_s=0.7 * FULL_RATE, gateways=gateways, seed=seed, fault=fault)
                    for seed in SEEDS[:3]
                ],
            )
            kept = mean([result.kept(FAULT_FROM, FAULT_TO) for result in found])
            wasted = 100 * mean([result.failed / result.attempts for result in found])
            cells.append(f"{fault}: {kept:5.1f} (wasted {wasted:4.2f} %)")
        print(f"{name:32s} {'   '.join(cells)}", flush=True)


def prefixes() -> None:
    """Prompt tokens read of those that came, with common prompts, at 95 % load."""
    print("\ncommon prompts, 95 % load: attainment %, share of prompt tokens that was read")
    for name, make in (
        ("ours", Ours),
        ("ours, no affinity", lambda scenario: Ours(scenario, affinity=False)),
    ):
        found = runs(
            make,
            [Scenario(rate_per_s=0.95 * FULL_RATE, prefixes=True, seed=s) for s in SEEDS[:3]],
        )
        read = mean([result.read_tokens / result.prompt_tokens for result in found])
        print(f"{name:32s} {mean([r.kept() for r in found]):5.1f}   {read:.3f}", flush=True)


def fleets(count: int, told_each_s: float | None) -> None:
    """On random fleets, how far ours is ahead of the best rival; under 0 it is behind.

    Each with as many draws of arrivals as tell how it is.  `told_each_s` None: as often as so many
    gateways before so many engines tell.
    """
    found = [
        settled(number, most=DRAWS_AT_MOST, told_each_s=told_each_s)
        for number in range(1000, 1000 + count)
    ]
    found.sort(key=lambda lead: lead.mean)
    told = f"{told_each_s * 1000:.0f} ms" if told_each_s is not None else "as is the rule"
    print(f"\n{count} random fleets, told {told}: points that ours is ahead of the best rival")
    for each in found[:8]:
        draws = f"{len(each.draws)} draws, spread {each.spread:4.2f}, worst {min(each.draws):+5.2f}"
        fleet = f"{each.best} on fleet {each.fleet}: {_shown(each.fleet)}"
        print(f"  {each.mean:+5.2f} +- {each.noise:4.2f} ({draws})  {fleet}")
    median, behind = found[len(found) // 2].mean, sum(each.mean < -2 for each in found)
    print(f"  median {median:+.2f}; more than 2 points behind on {behind}", flush=True)


def admission() -> None:
    """A pool that is asked for more than it can do, by one tenant: what eight quiet ones notice."""
    print("\noverload: share of the pool in good calls, quiet tenants' p95 s, of theirs in time %")
    policies: dict[str, Callable[[], overload.Policy]] = {
        "first come, first served, 400 wait": lambda: overload.Fifo(drops=False),
        "the same, none that is late": lambda: overload.Fifo(drops=True),
        "ours, judged at its turn": lambda: overload.Fair(predicts=False),
        "ours": overload.Fair,
    }
    for name, make in policies.items():
        cells = []
        for load in (0.0, 0.8, 1.5, 3.0):
            found = [overload.run(make(), load, seed=seed) for seed in SEEDS]
            goodput = mean([each.goodput for each in found])
            p95_s, good = mean([e.p95_s for e in found]), 100 * mean([e.good for e in found])
            cells.append(f"{load:.0%}: {goodput:.2f} {p95_s:5.2f} {good:5.1f}")
        print(f"{name:36s} {'   '.join(cells)}", flush=True)


def concurrency() -> None:
    """Good calls a second of an engine that is asked for more than it can do, and slow a while."""
    print("\ncalls at once at one engine: good calls a second, mean (worst seed)")
    gates: dict[str, Callable[[], crowd.Gate]] = {
        "unlimited": lambda: crowd.gate(crowd.UNLIMITED),
        **{f"fixed at {n}": partial(crowd.gate, n) for n in (8, 16, 24, 32, 40, 48, 64)},
        "ours, declared 48": lambda: crowd.gate(48, 48),
        "ours, declared 128": lambda: crowd.gate(128, 128),
        "ours, declared 16, at most 512": lambda: crowd.gate(16, 512),
    }
    for name, make in gates.items():
        found = [crowd.Crowd(make(), seed=seed).goodput() for seed in SEEDS]
        print(f"{name:36s} {mean(found):.2f} ({min(found):.2f})", flush=True)


def _shown(number: int) -> str:
    scenario = drawn(number)
    return (
        f"{len(scenario.kinds)} engines, {scenario.gateways} gateways, {scenario.rate_per_s:.0f}/s"
    )


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if sys.argv[1:] else FLEETS
    admission()
    concurrency()
    for told_each_s in (None, SLOWEST_S):
        fleets(wanted, told_each_s)
    prefixes()
    faults()
    loads()
