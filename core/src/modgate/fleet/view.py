"""A seat as filters and scorers see it: its backend, what it has in hand, what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modgate.api.vitals import UNKNOWN, Vitals
from modgate.fleet.standing import Standing

if TYPE_CHECKING:
    from modgate.api.select import Backend
    from modgate.fleet.slots import Slots


class View:
    """A `Candidate`.  `vitals` is set each second; the rest is read when somebody asks for it."""

    __slots__ = (
        *("_room", "_standing", "backend", "cost_per_hour", "hardware", "identity", "offers"),
        *("region", "vitals"),
    )

    def __init__(
        self, backend: Backend, room: Slots, standing: Standing, cost_per_hour: float | None
    ) -> None:
        self.backend: str = backend.name
        self.region: str = backend.region
        self.hardware: str = backend.hardware
        self.cost_per_hour = cost_per_hour
        self.offers: Mapping[str, frozenset[str]] = backend.offers
        self.vitals: Vitals = UNKNOWN
        self.identity = backend.identity
        self._room = room
        self._standing = standing

    @property
    def slots(self) -> int:
        """Calls that it takes at once."""
        return self._room.limit

    @property
    def taken(self) -> int:
        """Calls that it has in hand."""
        return self._room.taken + self._room.elsewhere

    @property
    def work(self) -> float:
        """The work that it has in hand of this model."""
        return self._standing.work + self._standing.elsewhere
