"""What limits remember: kept across reloads, by tenant, unit and period, not by amount."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modgate.limits.levels import Account, Levels

What = Literal["in_flight", "streams", "body_bytes", "spool_bytes"]


class Held(dict[What, int]):
    """What requests have in hand, by what it is.  Only what is above zero is in it."""

    __slots__ = ()


def moved(what: What, n: int, *holders: Held) -> None:
    """Take, or give back (negative), for each of the holders."""
    for held in holders:
        left = held.get(what, 0) + n
        if left:
            held[what] = left
        else:
            held.pop(what, None)


@dataclass(slots=True)
class LimitState:
    """Levels and what is in hand.  Bounded: both hold only what is above zero.

    `offset_s`: what makes epoch time of monotonic time; levels see one clock that never jumps.
    `name`: begins the ids of this gateway's reservations.  `shared`: other gateways charge the
    same levels.
    """

    levels: Account = field(default_factory=Levels)
    offset_s: float = 0.0
    name: str = ""
    shared: bool = False
    tenants: dict[str, Held] = field(default_factory=dict)
    total: Held = field(default_factory=Held)
    admitted: int = 0

    def new_id(self) -> str:
        """An id that no other request has, whichever snapshot admits it."""
        self.admitted += 1
        return f"{self.name}{self.admitted}"

    def ms(self, now: float) -> int:
        """Monotonic seconds as the milliseconds that levels count in."""
        return int((now + self.offset_s) * 1000)
