"""What it costs to be able to explain: `python bench/trails.py [backends ...]`.

Prints the median of CPU microseconds that a request's own bookkeeping takes (a pick, an attempt, a
receipt), without its trail and with it, the bytes that one takes, and the milliseconds of telling
why each backend was or was not the one, which only who asks pays.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from pick import CLOCK_NS

from modgate.api.auth import Caller
from modgate.api.select import Backend
from modgate.draft import Draft
from modgate.explain.trails import Trails
from modgate.fleet.fleet import Fleet
from modgate.fleet.health import PROBATION
from modgate.fleet.pick import Wanted
from modgate.fleet.reasons import considered
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms
from modgate.observe.tracing import Trace

SIZES = (1, 4, 16, 64)
REQUESTS = 20_000
CALLER = Caller(tenant="acme", key_id="key")
TRACE = Trace.of({})


class World:
    """A fleet of which all is known; a request a millisecond."""

    def __init__(self, size: int) -> None:
        self.at = 1.0
        self.trails = Trails()
        self.trails.use(2000, 64 << 20)
        backends = [
            Backend(name=f"e{n}", family="f", url=f"http://10.0.0.{n}", serves={"m": "m"}, slots=64)
            for n in range(size)
        ]
        self.fleet = Fleet(backends, FleetState(), groups={}, now=self.now)
        for number, seat in enumerate(self.fleet.pools["m"].seats):
            for _ in range(PROBATION):
                seat.health.succeeded(0.0)
            seat.standing.paces["total"].learn(0.0, 1e-5 * (1 + number))
            seat.take(700.0)

    def now(self) -> float:
        return self.at

    def request(self, number: int, *, keeps: bool) -> float:
        """Microseconds."""
        self.at += 0.001
        began = time.thread_time_ns()
        draft = Draft(
            request_id=f"req_{number:032x}",
            trace=TRACE,
            now=self.now,
            began=self.at,
            wall=self.at,
            caller=CALLER,
        )
        terms = Terms(slo="gold") if self.fleet.has_choice("m") else None
        lease = self.fleet.at_once("m", Wanted(work=700.0, terms=terms))
        assert lease is not None
        draft.attempt(0, "m", lease).end("ok")
        lease.give_back("ok")
        receipt = draft.receipt(
            ending="ok", status=200, units={}, exact=True, measured_by="gateway", error=None
        )
        if keeps:
            self.trails.keep(receipt, draft, None, None, apart=False)
        del draft, lease, receipt  # of what is not kept
        return (time.thread_time_ns() - began - CLOCK_NS) / 1000


def asked_ms(world: World) -> float:
    """Of telling the candidates of one request."""
    began = time.thread_time_ns()
    trails = world.trails.newest()[:200]
    for trail in trails:
        [tried] = trail.draft.tries
        assert tried.choice is not None
        assert tried.wanted is not None
        considered(tried.choice, tried.wanted)
    return (time.thread_time_ns() - began) / 1e6 / len(trails)


def main(sizes: Sequence[int]) -> None:
    """A line a fleet."""
    print("backends  bookkeeping  with its trail kept (CPU us)  bytes a request  asked (ms)")
    for size in sizes:
        plain, kept = World(size), World(size)
        times: dict[World, list[float]] = {plain: [], kept: []}
        for number in range(REQUESTS):
            for world, found in times.items():
                found.append(world.request(number, keeps=world is kept))
        before, after = (sorted(found)[REQUESTS // 2] for found in times.values())
        weight = kept.trails.weight / len(kept.trails)
        print(f"{size:8d} {before:12.1f} {after:28.1f} {weight:16.0f} {asked_ms(kept):11.3f}")


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or SIZES)
