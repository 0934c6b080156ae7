"""How a pool's seats stood at a moment, for whoever asks later why a call went where it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modgate.fleet.slots import Seat
from modgate.fleet.terms import Out


class SeatState(NamedTuple):
    """One seat.

    `health`: in a word.  `taken` of `limit` slots; `crowded`: its group had none left, or it was
    given few calls for a while.  `full`: it said that its cache was.  `work` in hand, in the
    modality's weighted units.  `out`: SLO classes that it was disqualified for, and in which phase.
    `heard_at`: when its telemetry spoke last of its load, minus infinity = never, or too long ago
    to be believed.
    The others: when a call taught its speed last, by phase; 0 = never.
    """

    health: str
    taken: int
    limit: int
    crowded: bool
    full: bool
    work: float
    out: Out
    heard_at: float
    first_byte_learned_at: float
    total_learned_at: float


@dataclass(frozen=True, slots=True, eq=False)
class PoolState:
    """The seats and how each stood `at` that time.

    `others`: gateways that told what they do; not `exact`: not all is known of what others have in
    hand, so that a sample is compared.
    """

    at: float
    seats: Sequence[Seat]
    stood: Sequence[SeatState]
    others: int = 0
    exact: bool = True

    @classmethod
    def of(
        cls, seats: Sequence[Seat], now: float, *, others: int = 0, exact: bool = True
    ) -> PoolState:
        """Now: about a microsecond a seat."""
        return cls(now, seats, [_stood(seat, now) for seat in seats], others, exact)


def _stood(seat: Seat, now: float) -> SeatState:
    health, slots, standing = seat.health, seat.slots, seat.standing
    taken, paces = slots.taken + slots.elsewhere, standing.paces
    cap = health.cap
    return SeatState(
        health.state(now),
        taken,
        slots.limit,
        (cap is not None and taken >= cap) or (seat.group is not None and not seat.group.free),
        health.reported.full,
        standing.work + standing.elsewhere,
        standing.out,
        health.reported.at,
        paces["first_byte"].at,
        paces["total"].at,
    )
