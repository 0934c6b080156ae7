"""What waiting costs: `python bench/waiting.py`.

Prints CPU microseconds a call: of one that finds a free slot and nobody waiting, with all that is
kept of it; and of one that joins a line in which tenants wait already and leaves it when its turn
comes.  The first is what most calls pay, and the queue has no part in it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from modgate.api.select import Backend
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.fleet import Fleet
from modgate.fleet.line import Line
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms

CALLS, ROUNDS = 20_000, 5
PROMISED = Terms(slo="gold", phase="first_byte", serial=True, target_s=1.0, said=True)


@dataclass(eq=False)
class Call:
    claim: Claim
    shape: Hashable = ""


def least_us(work: Callable[[int], object]) -> float:
    """Of some rounds, the one that was disturbed least."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for number in range(CALLS):
            work(number)
        found.append((time.thread_time_ns() - began) / CALLS / 1000)
    return min(found)


def free_us(backends: int, terms: Terms | None, watched: Terms | None = None) -> float:
    """A call that finds a slot."""
    fleet = Fleet(
        [
            Backend(name=f"b{n}", family="home", url=f"http://b{n}", serves={"m": "e"}, slots=CALLS)
            for n in range(backends)
        ],
        FleetState(),
        groups={},
        rng=random.Random(1),
    )

    def call(number: int) -> None:
        del number
        lease = fleet.at_once("m", Wanted(work=10.0, terms=terms, watched=watched))
        assert lease is not None
        lease.first()
        lease.give_back("ok")

    return least_us(call)


def line_us(tenants: int, each: int) -> float:
    """A call that waits where so many tenants have so many calls each, and its turn."""
    line: Line[Call] = Line()
    rules = QueueRules(calls=10**9, share=1.0)
    claims = [
        Claim(tenant=f"t{n}", request=(n, m), work=10.0 + n % 7)
        for n in range(tenants)
        for m in range(each)
    ]
    for claim in claims:
        line.push(Call(claim), rules, 0.0)

    def call(number: int) -> None:
        now = number * 1e-4
        line.push(Call(claims[number % len(claims)]), rules, now)
        line.serve(lambda item: "taken", set(), now)

    return least_us(call)


def row(name: str, us: float) -> None:
    """Of the table."""
    print(f"  {name:48s} {us:6.2f}", flush=True)


def main() -> None:
    """The table."""
    print("a free slot, nobody waits: CPU us a call")
    for backends in (1, 2, 16):
        row(f"{backends} backends, nothing promised", free_us(backends, None))
    row("1 backend, of a class with targets", free_us(1, None, PROMISED))
    for backends in (2, 16):
        row(f"{backends} backends, of a class with targets", free_us(backends, PROMISED))
    print("a call that waits: into the line, and its turn")
    for tenants in (1, 10, 100, 1000):
        row(f"{tenants} tenants of 10 calls each wait", line_us(tenants, 10))


if __name__ == "__main__":
    main()
