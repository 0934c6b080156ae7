"""Which seats a call may have now: engines that answer, have room, and keep their promises.

Source: algorithms.md 1.3 (panic, exploration), 1.4 (steps 2 to 4).
"""

from __future__ import annotations

from collections.abc import Sequence

from modgate.fleet.promise_record import EXPLORE_S
from modgate.fleet.slots import Seat
from modgate.fleet.terms import Phase, Terms

PANIC = 0.5
LATE_EXPLORER = 2.0


def answering(seats: Sequence[Seat], now: float) -> Sequence[Seat]:
    """Those that are not ejected.

    If most are, something else is wrong, and only those are left out where nobody listens.
    """
    live = [seat for seat in seats if seat.health.until <= now]
    if 2 * len(live) < len(seats):
        return [seat for seat in seats if not seat.health.refused] or seats
    return live


def with_room(seats: Sequence[Seat]) -> Sequence[Seat]:
    """Those with a free slot, first of all those that are neither new nor back a moment ago.

    A share of a full engine is for where no engine has room.
    """
    free = [seat for seat in seats if seat.free]
    if len(free) > 1:
        roomy = [s for s in free if s.slots.taken + s.slots.elsewhere < s.slots.limit]
        free = roomy or free
    slow = [s for s in free if (cap := s.health.cap) is not None and s.slots.taken >= cap]
    if slow and len(slow) < len(free):
        return [seat for seat in free if seat not in slow]
    return free


def qualified(free: Sequence[Seat], live: Sequence[Seat], terms: Terms) -> Sequence[Seat]:
    """Those that keep this class's promises; all of them if the others could not carry the load."""
    good = [seat for seat in free if not terms.barred(seat.standing.out)]
    if len(good) == len(free):
        return free
    weight, whole = capacity(good, terms.phase), capacity(live, terms.phase)
    return free if not good or weight < PANIC * whole else good


def capacity(seats: Sequence[Seat], phase: Phase) -> float:
    """Units of work a second, by what was learned; of seats of which nothing is, none."""
    return sum(1 / pace for seat in seats if (pace := seat.standing.paces[phase].value) > 0)


def to_explore(free: Sequence[Seat], terms: Terms, now: float) -> Seat | None:
    """A disqualified seat of which nobody knows for a while whether it got better."""
    if terms.explores == "never":
        return None
    pause = EXPLORE_S if terms.explores == "first" else EXPLORE_S * LATE_EXPLORER
    for seat in free:
        out = seat.standing.out  # of most nothing, so that is asked first
        if out and terms.barred(out) and now - explored_at(seat, terms) >= pause:
            return seat
    return None


def explored_at(seat: Seat, terms: Terms) -> float:
    """When a call like this one was spent on a disqualified seat last."""
    return max(seat.standing.record_of(terms.slo, phase).explored_at for phase, _ in terms.allowed)


def explored(seat: Seat, terms: Terms, now: float) -> None:
    """A call like this one is spent on it now."""
    for phase, _ in terms.allowed:
        seat.standing.record_of(terms.slo, phase).explored_at = now
