"""How long until a call is through: the work that is before it, times what its engine takes.

Source: algorithms.md 1.2 (phase parallelism), 1.4 (score).
"""

from __future__ import annotations

from collections.abc import Sequence

from modgate.fleet.slots import Seat
from modgate.fleet.terms import Phase, Terms


def drain_s(seats: Sequence[Seat], work: float, terms: Terms) -> list[float]:
    """At each seat the predicted seconds until this call is through the phase that is judged."""
    phase, serial = terms.phase, terms.serial
    found = []
    for seat in seats:
        slots, standing = seat.slots, seat.standing
        lanes = 1 if serial else slots.limit
        load = work
        if slots.taken + slots.elsewhere >= lanes or seat.health.reported.waiting:
            load += ahead(seat, work, phase) / lanes
        found.append(load * standing.paces[phase].value + seat.away_s)
    return found


def ahead(seat: Seat, work: float, phase: Phase) -> float:
    """The work in hand at this seat.

    Strangers' is not in it unless more calls wait there than that comes to: then it is as much as
    calls take that are as usual, or as this one of `work` where nothing is usual yet.
    """
    standing, reported = seat.standing, seat.health.reported
    known = standing.work + standing.elsewhere
    if seat.beside:
        known += _beside(seat, phase)
    return max(known, reported.waiting * (standing.usual or work)) if reported.waiting else known


def load_of(seat: Seat, work: float, terms: Terms) -> float:
    """The work that is done at this seat when this call is through, its own with it."""
    slots = seat.slots
    lanes = 1 if terms.serial else slots.limit
    if slots.taken + slots.elsewhere < lanes and not seat.health.reported.waiting:
        return work
    return work + ahead(seat, work, terms.phase) / lanes


def _beside(seat: Seat, phase: Phase) -> float:
    """The engine's other models' work, as work of this one: by the seconds that both take."""
    pace = seat.standing.paces[phase].value
    if pace <= 0:
        return 0.0
    return sum(
        (other.work + other.elsewhere) * (other.paces[phase].value or pace) / pace
        for other in seat.beside
    )
