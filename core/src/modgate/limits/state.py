"""What limits remember.

It outlives reloads, because a limit is known by tenant, unit and period, and not by its amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from modgate.limits.account import Account, OwnAccount

What = Literal["in_flight", "streams", "body_bytes", "spool_bytes"]  # what a request can hold
Held = dict[What, int]  # how much of it is held; only what is above zero is in it


def give_back(what: What, n: int, holders: Sequence[Held]) -> None:
    """Each of the holders holds `n` less."""
    for held in holders:
        left = held[what] - n
        if left:
            held[what] = left
        else:
            del held[what]


@dataclass(slots=True)
class LimitState:
    """How full limits are, and what requests hold.  Bounded: only what is above zero is kept.

    `levels`: where limits are charged.  `shared`: whether other gateways charge the same.
    `offset_s`: is added to monotonic time to make epoch time, so that levels never see a jump.
    `tenants`, `total`: what the requests of each tenant hold, and those of all together.
    `admitted`: how many requests ever were.
    """

    levels: Account = field(default_factory=OwnAccount)
    offset_s: float = 0.0
    shared: bool = False
    tenants: dict[str, Held] = field(default_factory=dict)
    total: Held = field(default_factory=Held)
    admitted: int = 0

    def new_id(self) -> int:
        """An id that no other request of this process has, whichever snapshot admits it."""
        self.admitted += 1
        return self.admitted

    def ahead_ms(self, now: float, wall: float) -> int:
        """How far the wall clock is ahead of the levels' time, in ms, to the whole second.

        It is when somebody set it, or when the machine slept, in which monotonic time stands still.
        """
        return round(wall - now - self.offset_s) * 1000

    def ms(self, now: float) -> int:
        """Monotonic seconds as the milliseconds that levels count in."""
        return int((now + self.offset_s) * 1000)
