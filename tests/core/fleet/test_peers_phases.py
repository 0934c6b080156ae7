"""What gateways tell each other of promises, phase by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modgate.fleet.frames import ClassTold, Frame, StandingTold, tag_of
from modgate.fleet.peers import Peers
from modgate.fleet.pool import Pool
from modgate.fleet.slots import Seat, Slots
from modgate.fleet.standing import Standing

WALL = 1_800_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One with one engine."""

    peers: Peers
    pools: Mapping[str, Pool]
    standing: Standing


def gateway(number: int) -> Gateway:
    seat = Seat(backend="a", region="", slots=Slots(limit=4), key="a", model="e")
    made = Gateway(peers=Peers(number), pools={"m": Pool([seat])}, standing=seat.standing)
    made.peers.use(made.pools, 0.0)
    return made


def test_promises_of_others_count_by_phase() -> None:
    here, there = gateway(1), gateway(2)
    ours = here.standing
    ours.record_of("gold", "first_byte")
    here.peers.use(here.pools, 0.0)
    theirs = there.standing
    theirs.record_of("gold", "total")
    for number, (phase, ratio) in enumerate(
        [("first_byte", 0.5), ("total", 0.5), ("total", 2.0), ("between", 2.0), ("between", 2.0)]
    ):
        here.peers.hear(there.peers.frame(0.0, WALL), 0.1 * number, WALL)
        theirs.record_of("gold", phase).judge(0.0, predicted=0.1, ratio=ratio)
    here.peers.hear(there.peers.frame(0.0, WALL), 1.0, WALL)
    heard = {phase: each.promised for (_, phase), each in ours.records.items()}

    assert {phase: (each.n, each.bad) for phase, each in heard.items()} == {
        "first_byte": (1, 0),
        "total": (2, 1),
        "between": (2, 2),
    }


def test_an_earlier_gateways_promises_count_as_they_were_told() -> None:
    here = gateway(1)
    ours = here.standing
    ours.record_of("gold", "first_byte")
    here.peers.use(here.pools, 0.0)
    tag = tag_of("a", "e")
    for number, (seen, bad) in enumerate([(10, 0), (14, 3)]):
        told = StandingTold(tag, kept=(ClassTold(tag_of("gold"), seen, bad),))
        frame = Frame(gateway=2, number=number + 1, at=WALL, standings=(told,))
        here.peers.hear(frame, 0.1 * number, WALL)
    promised = ours.record_of("gold", "first_byte").promised

    assert (promised.n, promised.bad) == (4, 3)
