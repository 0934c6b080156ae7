"""What an engine has in hand.

Kept by the engine's identity, so a reload neither frees nor doubles it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Slots:
    """One engine's (or one group's) capacity: counted once, however many models it serves.

    `taken`: calls in flight.  `work`: their scheduling work, in the modalities' weighted units.
    """

    limit: int
    taken: int = 0
    work: float = 0.0

    @property
    def free(self) -> bool:
        """Whether one more call fits."""
        return self.taken < self.limit

    def load(self, more: float) -> float:
        """Work per slot if `more` came on top: what the pick compares."""
        return (self.work + more) / max(1, self.limit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seat:
    """A backend's place in a pool: its own slots, and its group's if it shares some."""

    backend: str
    region: str
    offers: dict[str, frozenset[str]] = field(default_factory=dict)
    slots: Slots
    group: Slots | None = None

    @property
    def free(self) -> bool:
        """Whether a call may start here now."""
        return self.slots.free and (self.group is None or self.group.free)

    def take(self, work: float) -> None:
        """One call begins."""
        for slots in (self.slots, self.group):
            if slots is not None:
                slots.taken += 1
                slots.work += work

    def more(self, work: float) -> None:
        """A call that is here carries more work than it was taken for."""
        for slots in (self.slots, self.group):
            if slots is not None:
                slots.work += work

    def give(self, work: float) -> None:
        """One call ended."""
        for slots in (self.slots, self.group):
            if slots is not None:
                slots.taken -= 1
                slots.work = max(0.0, slots.work - work) if slots.taken else 0.0
