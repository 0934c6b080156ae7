"""A backend's cost by the hour, shared out among the requests that were resident on it.

An hour's cost C is cut into 360 slots of ten seconds by largest remainder.  In a slot each request
has an activity: its work, spread evenly over the time that it was there, and never nothing.  The
slot's part goes to the requests by largest remainder of their activity; a slot with nobody in it is
idle.  Whole micro-units only: what is attributed and what is idle sum to C, always.
Source: algorithms.md 4.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modgate.kit.apportion import largest_remainder

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
SLOT_US = 10 * SECOND_US
SLOTS = HOUR_US // SLOT_US
FINE = 1 << 20  # steps of activity in one unit of work: a slot's part of it is a whole number


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A request on a backend: when (epoch microseconds), and how much work it was.

    `id` decides ties, so that any order of the same stays is shared out the same.
    """

    id: str
    began_us: int
    ended_us: int
    work: int = 0

    def activity(self, begin_us: int, end_us: int) -> int:
        """What it did between two moments; at least 1 where it was there at all."""
        here_us = min(self.ended_us, end_us) - max(self.began_us, begin_us)
        if here_us < 0 or (here_us == 0 and self.began_us != self.ended_us):
            return 0
        stayed_us = max(1, self.ended_us - self.began_us)
        return max(1, self.work * FINE * max(1, here_us) // stayed_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """An hour's cost in micro-units: each request's share by its id, and what nobody used."""

    shares: Mapping[str, int] = field(default_factory=dict)
    idle: int = 0


def share_hour(cost_micro: int, hour_us: int, stays: Iterable[Stay]) -> Shared:
    """Share out the cost of the hour that begins at `hour_us` among those who were there."""
    present: list[list[Stay]] = [[] for _ in range(SLOTS)]
    for stay in sorted(stays, key=lambda each: (each.id, each.began_us)):
        for slot in _slots(stay, hour_us):
            present[slot].append(stay)
    shares: dict[str, int] = {}
    idle = 0
    for slot, part in enumerate(largest_remainder(cost_micro, [1] * SLOTS)):
        begin_us = hour_us + slot * SLOT_US
        active = [(stay.id, stay.activity(begin_us, begin_us + SLOT_US)) for stay in present[slot]]
        active = [(name, weight) for name, weight in active if weight]
        if not active:
            idle += part
            continue
        given = largest_remainder(part, [weight for _, weight in active])
        for (name, _), share in zip(active, given, strict=True):
            shares[name] = shares.get(name, 0) + share
    return Shared(shares=shares, idle=idle)


def _slots(stay: Stay, hour_us: int) -> range:
    """The hour's slots that a stay touches."""
    first = max(0, (stay.began_us - hour_us) // SLOT_US)
    last = min(SLOTS - 1, (stay.ended_us - hour_us) // SLOT_US)
    return range(first, last + 1)
