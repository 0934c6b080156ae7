"""How long a pick takes, and all that the fleet does for a call: `python bench/pick.py [N ...]`.

Prints the median and the 99th percentile of CPU microseconds, of picks over fleets of N backends as
the request path makes them: all compared, a sample compared, and with an affinity; then, all of
them compared, where every engine tells of its load and one is full, with a scorer that looks at
what each tells, with all of these and preferences, and the last where one engine is ejected, one
disqualified and most are new.  Then of whole lives of calls, from their terms to what is learned of
them, with an affinity.
"""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import inf

from pydantic import BaseModel

from modgate.api.body import Body
from modgate.api.plan import Call
from modgate.api.select import Backend
from modgate.api.vitals import Load, Vitals
from modgate.fleet.affinity import key_of
from modgate.fleet.fleet import Fleet
from modgate.fleet.health import PROBATION, PROBATION_CALLS
from modgate.fleet.lease import Lease
from modgate.fleet.outlook import answers_elsewhere
from modgate.fleet.panel import Panel, ScorerVoice, Voice
from modgate.fleet.pick import Wanted
from modgate.fleet.pool import Pool
from modgate.fleet.promise import Promise
from modgate.fleet.slots import Seat, Slots, seed_of
from modgate.fleet.standing import Standing
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms
from modgate.fleet.view import View
from modgate.goals import Goals
from modgate.plugin import Candidate, Placement, Scorer
from modgate.units import Units
from modgate_llm.config import Config
from modgate_llm.modality import Llm

SIZES = (2, 4, 16, 64)
PICKS = 20_000
PATIENT_S = 600.0
NO_BODY = Body("raw")


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


def fleet(size: int, rng: random.Random, *, preferred: bool = False) -> list[Seat]:
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
            factor=(1.0, 1.1, 1.25)[number % 3] if preferred else 1.0,
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


@dataclass(frozen=True, kw_only=True)
class Case:
    """What calls and engines are like."""

    name: str
    exact: bool = True
    affinity: bool = False
    told: bool = False
    scored: bool = False
    preferred: bool = False
    troubled: bool = False


EACH = {"exact": True, "affinity": True, "told": True, "scored": True, "preferred": True}
CASES = (
    Case(name="exact"),
    Case(name="sampled", exact=False),
    Case(name="affinity", affinity=True),
    Case(name="told", told=True),
    Case(name="scored", scored=True),
    Case(name="preferred", preferred=True),
    Case(name="all of these", **EACH),
    Case(name="and troubled", **EACH, troubled=True),
)


def trouble(seats: Sequence[Seat]) -> None:
    """Most are new, one is ejected, and one breaks its promises."""
    for seat in seats[1::2]:
        seat.health.cap = PROBATION_CALLS
    seats[0].health.eject(1.0, lambda: 0.5)
    seats[-1].standing.trust("silver", "first_byte", trusted=False)
    seats[-1].standing.record_of("silver", "first_byte").explored_at = inf


def picks(size: int, case: Case) -> tuple[list[float], list[float]]:
    """CPU microseconds of each pick, and of each call's whole accounting with it."""
    rng = random.Random(size)
    seats = fleet(size, rng, preferred=case.preferred)
    pool = Pool(seats, exact=case.exact, panel=panel() if case.scored else None)
    if case.told:
        for number, seat in enumerate(seats):
            seat.health.heard(Load(running=1, kv_use=0.5 if number else 1.0), 1, 1.0, 1e6)
    if case.troubled:
        trouble(seats)
    alone, whole = [], []
    for number in range(PICKS):
        now = 1.0 + number * 0.001
        key = key_of("tenant", "model", b"%d" % (number % 50)) if case.affinity else None
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
        choice = pool.choose(pool.candidates(wanted), wanted, now, rng)
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


def lives(size: int) -> list[float]:
    """CPU microseconds of calls of whole replies, four at once, a hundred of them at a time.

    What `dispatch.py`, `trip.py` and `run.py` ask of the fleet for each.
    """
    rng, clock, state = random.Random(size), count(1.0, 1e-4), FleetState()
    fleet = Fleet(
        [
            Backend(name=f"e{n}", family="home", url=f"http://e{n}", serves={"m": "m"}, slots=64)
            for n in range(size)
        ],
        state,
        groups={},
        rng=rng,
        now=lambda: next(clock),
    )
    goals, llm = Goals({}, {}, state.expected), Llm(Config())
    size_of = Units(input_tokens=200, output_tokens=1000)
    used = {"llm.input_tokens": 200, "llm.output_tokens": 100}
    under_way: deque[Lease] = deque()

    def live(key: bytes) -> None:
        call = Call(path="/", body=NO_BODY, size=size_of, affinity=key)
        wanted = Wanted(requires=call.requires)
        if fleet.has_choice("m"):
            wanted.work, wanted.terms = goals.terms(
                call, model="m", modality=llm, tenant="acme", slo=""
            )
            wanted.tenant, wanted.size = "acme", call.size
        else:
            wanted.work = goals.work(call, model="m", modality=llm)
        lease = fleet.at_once("m", wanted)
        assert lease is not None
        if lease.patience_s < PATIENT_S:
            answers_elsewhere(fleet.pools["m"], wanted, lease.backend.name, fleet.now())
        state.retries_of("m").earn(fleet.now())
        under_way.append(lease)
        if len(under_way) > 4:
            lease = under_way.popleft()
            lease.first()
            lease.give_back("ok")
            fleet.learn("m", used)

    keys = [b"%d" % number for number in range(50)]
    times = []
    for _ in range(PICKS // 100):
        began = time.thread_time_ns()
        for number in range(100):
            live(keys[number % 50])
        times.append((time.thread_time_ns() - began) / 100_000)
    return times


def main(sizes: Sequence[int]) -> None:
    """A line a fleet."""
    print("backends  picks         p50    p99   with accounting p50   (CPU us)")
    for size in sizes:
        for case in CASES:
            alone, whole = picks(size, case)
            print(
                f"{size:8d}  {case.name:12s} {_at(alone, 0.5):5.1f} {_at(alone, 0.99):6.1f} "
                f"{_at(whole, 0.5):15.1f}"
            )
    print("\nbackends  a call's life p50   (CPU us)")
    for size in (1, *sizes):
        print(f"{size:8d} {_at(lives(size), 0.5):15.1f}")


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or SIZES)
