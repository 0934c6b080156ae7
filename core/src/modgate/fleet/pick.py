"""The pick: which seat takes a call.  Pure: everything it looks at is an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modgate.fleet.slots import Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a call needs of a backend.

    `regions` None = anywhere; `tried`: backends that failed it already.
    """

    work: float = 0.0
    regions: frozenset[str] | None = None
    requires: tuple[tuple[str, str], ...] = ()
    tried: frozenset[str] = frozenset()


def allowed(seat: Seat, wanted: Wanted) -> bool:
    """The hard filters.

    Residency first, then what the call requires.  A kind that is not declared refuses nothing.
    """
    if wanted.regions is not None and seat.region not in wanted.regions:
        return False
    if not wanted.requires:
        return True
    return all(
        kind not in seat.offers or value in seat.offers[kind] for kind, value in wanted.requires
    )


def candidates(pool: Sequence[Seat], wanted: Wanted) -> Sequence[Seat]:
    """The seats that may ever take this call; those that failed it only when no other is left."""
    if wanted.regions is None and not wanted.requires:  # same result without this
        fit = pool
    else:
        fit = [seat for seat in pool if allowed(seat, wanted)]
    if not wanted.tried:
        return fit
    fresh = [seat for seat in fit if seat.backend not in wanted.tried]
    return fresh or fit


def pick(pool: Sequence[Seat], wanted: Wanted, rng: Callable[[], float]) -> Seat | None:
    """The free seat with the least work per slot after this call.

    Ties by `rng`.  None = none is free.
    """
    if len(pool) == 1:  # same result without this: most pools are small
        return pool[0] if pool[0].free else None
    free = [seat for seat in pool if seat.free]
    if not free:
        return None
    return min(free, key=lambda seat: (seat.slots.load(wanted.work), rng()))
