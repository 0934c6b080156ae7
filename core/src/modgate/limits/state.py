"""What limits remember: kept across reloads, by tenant, unit and period, not by amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from modgate.limits.account import Account, Own

What = Literal["in_flight", "streams", "body_bytes", "spool_bytes"]


Held = dict[What, int]  # what requests have in hand; only what is above zero is in it


def give_back(what: What, n: int, holders: Sequence[Held]) -> None:
    """Each of the holders has so many less."""
    for held in holders:
        left = held[what] - n
        if left:
            held[what] = left
        else:
            del held[what]


@dataclass(slots=True)
class LimitState:
    """Levels and what is in hand.  Bounded: both hold only what is above zero.

    `offset_s`: what makes epoch time of monotonic time; levels see one clock that never jumps.
    `shared`: other gateways charge the same levels.
    """

    levels: Account = field(default_factory=Own)
    offset_s: float = 0.0
    shared: bool = False
    tenants: dict[str, Held] = field(default_factory=dict)
    total: Held = field(default_factory=Held)
    admitted: int = 0

    def new_id(self) -> int:
        """An id that no other request has, whichever snapshot admits it."""
        self.admitted += 1
        return self.admitted

    def ahead_ms(self, now: float, wall: float) -> int:
        """How far the wall clock went ahead of that of the levels, in whole seconds.

        It was set, or the machine slept, of which monotonic time knows nothing.
        """
        return round(wall - now - self.offset_s) * 1000

    def ms(self, now: float) -> int:
        """Monotonic seconds as the milliseconds that levels count in."""
        return int((now + self.offset_s) * 1000)
