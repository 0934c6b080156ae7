"""What limits remember: kept across reloads, by tenant, unit and period, not by amount."""

from __future__ import annotations

from dataclasses import dataclass, field

from modgate.limits.levels import Account, Levels


@dataclass(slots=True)
class Held:
    """What the requests of one tenant (or of all) have in hand."""

    in_flight: int = 0
    streams: int = 0
    body_bytes: int = 0
    spool_bytes: int = 0

    def get(self, what: str) -> int:
        """One of the four."""
        count: int = getattr(self, what)
        return count

    def add(self, what: str, n: int) -> None:
        """Take, or give back (negative)."""
        setattr(self, what, getattr(self, what) + n)

    @property
    def empty(self) -> bool:
        """Whether nothing is in hand."""
        return not (self.in_flight or self.streams or self.body_bytes or self.spool_bytes)


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
