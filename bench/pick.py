"""How long a pick takes: `python bench/pick.py [backends ...]`.

Prints the median and the 99th percentile of CPU microseconds, of picks over fleets of that size as
the request path makes them: all compared, a sample compared, and with an affinity; then, all of
them compared, where every engine tells of its load and one is full, and with a scorer that looks
at what each tells.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence

from pydantic import BaseModel

from modgate.api.select import Backend
from modgate.api.vitals import Load, Vitals
from modgate.fleet.affinity import key_of
from modgate.fleet.health import PROBATION
from modgate.fleet.panel import Panel, ScorerVoice, Voice
from modgate.fleet.pick import Wanted, candidates
from modgate.fleet.pool import Pool
from modgate.fleet.promise import Promise
from modgate.fleet.slots import Seat, Slots, seed_of
from modgate.fleet.standing import Standing
from modgate.fleet.terms import Terms
from modgate.fleet.view import View
from modgate.plugin import Candidate, Placement, Scorer

SIZES = (2, 4, 16, 64)
PICKS = 20_000


class Nothing(BaseModel):
    """No keys."""


class Roomy(Scorer[Nothing]):
    """Likes engines whose cache has room, by their own word."""

    name = "roomy"
    config_type = Nothing

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> Sequence[float]:
        found = []
        for each in candidates:
            load = each.vitals.load
            found.append(1.0 if load is None or load.kv_use is None else 1.0 + load.kv_use)
        return found


def fleet(size: int, rng: random.Random) -> list[Seat]:
    """Engines of which all is known, with something in hand."""
    seats = []
    for number in range(size):
        name = f"e{number}"
        backend = Backend(name=name, family="home", url=f"http://{name}", serves={})
        slots, standing = Slots(limit=64), Standing()
        seat = Seat(
            backend=name,
            region="eu",
            slots=slots,
            standing=standing,
            key=name,
            seed=seed_of(name),
            view=View(backend, slots, standing, None),
        )
        for _ in range(PROBATION):
            seat.health.succeeded(0.0)
        seat.standing.paces["first_byte"].learn(0.0, rng.uniform(1e-5, 5e-5))
        seat.take(rng.uniform(100, 3000))
        seats.append(seat)
    return seats


def panel() -> Panel:
    """One scorer, and engines that tell of their load."""
    voice = Voice(name="roomy", origin="bench", budget_s=1.0, note=lambda name, fault: None)
    return Panel(
        "model",
        "llm",
        filters=(),
        scorers=(ScorerVoice(voice=voice, scores=Roomy(Nothing()).scores),),
        vitals=lambda identity, now: Vitals(load=Load(kv_use=0.5), load_weight=1.0),
    )


def picks(
    size: int, *, exact: bool, affinity: bool, told: bool = False, scored: bool = False
) -> tuple[list[float], list[float]]:
    """CPU microseconds of each pick, and of each call's whole accounting with it."""
    rng = random.Random(size)
    seats = fleet(size, rng)
    pool = Pool(seats, exact=exact, panel=panel() if scored else None)
    if told:
        for number, seat in enumerate(seats):
            seat.health.heard(Load(running=1, kv_use=0.5 if number else 1.0), 1, 1.0, 1e6)
    alone, whole = [], []
    for number in range(PICKS):
        now = 1.0 + number * 0.001
        key = key_of("tenant", "model", b"%d" % (number % 50)) if affinity else None
        terms = Terms(
            slo="silver",
            phase="first_byte",
            serial=True,
            target_s=1.0,
            between_s=0.06,
            read=500.0,
            affinity=key,
        )
        wanted = Wanted(work=700.0, regions=None, terms=terms)
        began = time.thread_time_ns()
        choice = pool.choose(candidates(seats, wanted), wanted, now, rng)
        picked = time.thread_time_ns()
        assert choice is not None
        promise = Promise(choice, wanted.work, terms, now)
        promise.first(now + 0.1)
        promise.end(now + 0.2, ok=True, events=10)
        alone.append((picked - began - CLOCK_NS) / 1000)
        whole.append((time.thread_time_ns() - began - 2 * CLOCK_NS) / 1000)
    return alone, whole


def _clock_ns() -> int:
    """What asking for the time takes: a call of the kernel, which a pick makes none of."""
    times = []
    for _ in range(2000):
        began = time.thread_time_ns()
        times.append(time.thread_time_ns() - began)
    return sorted(times)[len(times) // 2]


CLOCK_NS = _clock_ns()


def _at(times: Sequence[float], share: float) -> float:
    return sorted(times)[int(share * (len(times) - 1))]


def main(sizes: Sequence[int]) -> None:
    """A line a fleet."""
    print("backends  view     affinity  pick p50  p99   with accounting p50   (CPU us)")
    for size in sizes:
        for exact, affinity in ((True, False), (False, False), (True, True)):
            alone, whole = picks(size, exact=exact, affinity=affinity)
            view = "exact" if exact else "sampled"
            print(
                f"{size:8d}  {view:8s} {'yes' if affinity else 'no':8s} "
                f"{_at(alone, 0.5):9.1f} {_at(alone, 0.99):5.1f} {_at(whole, 0.5):15.1f}"
            )
        for told, scored, what in ((True, False, "told"), (False, True, "scored")):
            alone, whole = picks(size, exact=True, affinity=False, told=told, scored=scored)
            print(
                f"{size:8d}  {what:8s} no       "
                f"{_at(alone, 0.5):9.1f} {_at(alone, 0.99):5.1f} {_at(whole, 0.5):15.1f}"
            )


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or SIZES)
