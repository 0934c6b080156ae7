"""What other gateways have in hand at the same engines, as they tell each other.

Pure: who carries the frames, and how often, is not known here.  A frame holds the whole of what its
gateway knows, so one that was lost costs nothing but time.

Source: algorithms.md 7 (gossip), 1.2 (exchange of estimates).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modgate.fleet.counters import Counters
from modgate.fleet.pool import Pool
from modgate.fleet.slots import Seat

EXPIRES_S = 1.0
PHASES = ("first_byte", "total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Of one seat: calls and work in hand, paces by phase, and counts that never fall.

    `kept`: by SLO class the promises that were judged, and how many of them were broken.
    """

    taken: int = 0
    work: float = 0.0
    paces: tuple[float, ...] = ()
    kept: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    errors: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What one gateway tells: of each seat, by its key.

    `boot`: of this process; `number` rises.  `offered`: by model, units of work a second that were
    asked of it.
    """

    host: str
    boot: str
    number: int
    seats: Mapping[str, Told]
    offered: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Peer:
    frame: Frame
    at: float


NOTHING = Told()


class Peers:
    """The view of other gateways onto these seats, kept in the seats themselves.

    `pools`: by model.  After frames were heard, `settle`.
    """

    def __init__(self, host: str, boot: str, pools: Mapping[str, Pool]) -> None:
        self._host = host
        self._boot = boot
        self._pools = pools
        self._seats = {
            f"{seat.key}\n{model}": seat for model, pool in pools.items() for seat in pool.seats
        }
        self._number = 0
        self._peers: dict[str, _Peer] = {}

    @property
    def heard_of(self) -> Sequence[str]:
        """The gateways whose word counts now."""
        return sorted(self._peers)

    def frame(self, now: float) -> Frame:
        """What this gateway tells now."""
        self._number += 1
        engines: set[int] = set()
        seats: dict[str, Told] = {}
        for key, seat in self._seats.items():
            again = id(seat.slots) in engines  # its calls are told of once, whatever models it has
            engines.add(id(seat.slots))
            seats[key] = _told(seat, 0 if again else seat.slots.taken)
        return Frame(
            host=self._host,
            boot=self._boot,
            number=self._number,
            seats=seats,
            offered={model: pool.offered(now) for model, pool in self._pools.items()},
        )

    def hear(self, frame: Frame, now: float) -> None:
        """Another's frame; an old one, and one's own, changes nothing."""
        if frame.host == self._host:
            return
        peer = self._peers.get(frame.host)
        same = peer is not None and peer.frame.boot == frame.boot
        if peer is not None and same and frame.number <= peer.frame.number:
            return
        before = peer.frame.seats if peer is not None else {}
        self._peers[frame.host] = _Peer(frame, now)
        for key, told in frame.seats.items():
            if (seat := self._seats.get(key)) is not None:
                old = before.get(key, NOTHING)
                _move(seat, old, told)
                if same:  # what a gateway counted before it was heard of is of no use any more
                    _count(seat, old, told, now)
        for key in before.keys() - frame.seats.keys():
            if (seat := self._seats.get(key)) is not None:
                _move(seat, before[key], NOTHING)

    def settle(self, now: float) -> None:
        """Whoever is silent for a second has nothing in hand that we know of; the rest is shared:
        estimates are the mean of what all know, what is asked of a pool is the sum."""
        gone = [host for host, peer in self._peers.items() if now - peer.at > EXPIRES_S]
        for host in gone:
            for key, told in self._peers.pop(host).frame.seats.items():
                if (seat := self._seats.get(key)) is not None:
                    _move(seat, told, NOTHING)
        for model, pool in self._pools.items():
            pool.others = len(self._peers)
            pool.elsewhere = sum(p.frame.offered.get(model, 0.0) for p in self._peers.values())
        for key, seat in self._seats.items():
            seat.standing.elsewhere = seat.standing.told
            found = [peer.frame.seats.get(key, NOTHING).paces for peer in self._peers.values()]
            for at, phase in enumerate(PHASES):
                seat.standing.paces[phase].heard([paces[at] for paces in found if paces])


def _told(seat: Seat, taken: int) -> Told:
    standing = seat.standing
    return Told(
        taken=taken,
        work=standing.work,
        paces=tuple(standing.paces[phase].own for phase in PHASES),
        kept={
            slo: (kept.promised.seen, kept.promised.seen_bad) for slo, kept in standing.kept.items()
        },
        errors=(seat.health.errors.seen, seat.health.errors.seen_bad),
    )


def _move(seat: Seat, old: Told, new: Told) -> None:
    """What another has in hand changed from one to the other."""
    seat.slots.elsewhere += new.taken - old.taken
    standing = seat.standing
    standing.told = max(0.0, standing.told + new.work - old.work)


def _count(seat: Seat, old: Told, new: Told, now: float) -> None:
    for slo, (n, bad) in new.kept.items():
        was_n, was_bad = old.kept.get(slo, (0, 0))
        _heard(seat.standing.kept_of(slo).promised, n - was_n, bad - was_bad, now)
    n, bad = new.errors
    _heard(seat.health.errors, n - old.errors[0], bad - old.errors[1], now)


def _heard(counters: Counters, n: int, bad: int, now: float) -> None:
    if n > 0:
        counters.heard(now, n, max(0, bad))
