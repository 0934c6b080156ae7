"""How long a pick takes: `python bench/pick.py [backends ...]`.

Prints the median and the 99th percentile of CPU microseconds, of picks over fleets of that size as
the request path makes them: all compared, a sample compared, and with an affinity.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence

from modgate.fleet.affinity import key_of
from modgate.fleet.health import PROBATION
from modgate.fleet.pick import Wanted, candidates
from modgate.fleet.pool import Pool
from modgate.fleet.promise import Promise
from modgate.fleet.slots import Seat, Slots, seed_of
from modgate.fleet.terms import Terms

SIZES = (2, 4, 16, 64)
PICKS = 20_000


def fleet(size: int, rng: random.Random) -> list[Seat]:
    """Engines of which all is known, with something in hand."""
    seats = []
    for number in range(size):
        seat = Seat(
            backend=f"e{number}",
            region="eu",
            slots=Slots(limit=64),
            key=f"e{number}",
            seed=seed_of(f"e{number}"),
        )
        for _ in range(PROBATION):
            seat.health.succeeded(0.0)
        seat.standing.paces["first_byte"].learn(0.0, rng.uniform(1e-5, 5e-5))
        seat.take(rng.uniform(100, 3000))
        seats.append(seat)
    return seats


def picks(size: int, *, exact: bool, affinity: bool) -> tuple[list[float], list[float]]:
    """CPU microseconds of each pick, and of each call's whole accounting with it."""
    rng = random.Random(size)
    seats = fleet(size, rng)
    pool = Pool(seats, exact=exact)
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


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or SIZES)
