"""What telling and hearing of other gateways costs: `python bench/peers.py [backends] [gateways]`.

Prints CPU milliseconds of one gateway in each second, and the size of a frame, where every gateway
tells each 250 ms, and has something in hand at every backend.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence

from modgate.api.secret import Secret
from modgate.fleet.cadence import MOST_S
from modgate.fleet.frames import Seal
from modgate.fleet.peers import Peers
from modgate.fleet.pool import Pool
from modgate.fleet.slots import Seat, Slots

EACH_S = MOST_S
SECONDS = 20
CLASSES = ("gold", "silver", "")


def gateway(number: int, backends: int) -> tuple[Peers, Sequence[Seat]]:
    """One of them, which has learned everything there is."""
    rng = random.Random(number)
    seats = [
        Seat(backend=f"e{at}", region="", slots=Slots(limit=64), key=f"http://10.0.0.{at}:8000")
        for at in range(backends)
    ]
    for seat in seats:
        seat.take(rng.uniform(1, 3000))
        seat.health.errors.add(0.0, 1000, 3)
        for phase in seat.standing.paces.values():
            phase.learn(0.0, rng.uniform(1e-5, 5e-5))
        for slo in CLASSES:
            seat.standing.record_of(slo, "first_byte").judge(0.0, predicted=0.5, ratio=0.5)
    peers = Peers(number + 1, f"gateway-{number}:1")
    peers.use({"chat": Pool(seats)}, 0.0)
    return peers, seats


def main(backends: int, gateways: int) -> None:
    """Measure the first of them."""
    seal = Seal(Secret("a secret of the benchmark"), "modgate:peers:")
    all_of_them = [gateway(number, backends) for number in range(gateways)]
    mine, seats = all_of_them[0]
    telling = hearing = beating = 0
    size = 0
    for step in range(int(SECONDS / EACH_S)):
        now = step * EACH_S
        for seat in seats:
            seat.standing.record_of("gold", "first_byte").judge(now, predicted=0.5, ratio=0.5)
        told = [seal.write(peers.frame(now, now)) for peers, _ in all_of_them[1:]]
        began = time.thread_time_ns()
        own = seal.write(mine.frame(now, now))
        telling += time.thread_time_ns() - began
        size = len(own)
        began = time.thread_time_ns()
        for written in (own, *told):
            mine.hear(seal.read(written), now, now)
        hearing += time.thread_time_ns() - began
        began = time.thread_time_ns()
        mine.settle(now)
        beating += time.thread_time_ns() - began
    print(f"{backends} backends, {gateways} gateways: a frame has {size} bytes")
    for name, ns in (("telling", telling), ("hearing", hearing), ("by the clock", beating)):
        print(f"{name:14s} {ns / 1e6 / SECONDS:6.2f} ms of CPU a second")


if __name__ == "__main__":
    asked = [int(each) for each in sys.argv[1:]]
    main(*(asked + [64, 8][len(asked) :]))
