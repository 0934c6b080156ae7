"""Where a gateway's limits are charged: levels of its own, or shares of a store that others use."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from modgate.limits.levels import Denied, Fill, Limit, Wanted, taken


class Account(Protocol):
    """What a limiter asks of the levels, whoever has them.

    `rid` tells one reservation from another.
    """

    def level(self, limit: Limit, now_ms: int) -> int:
        """The level now: unit x ms for buckets, units for the others."""
        ...

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until `count` more would be admitted; 0 = now."""
        ...

    def look(self, limits: Sequence[Limit], now_ms: int) -> None:
        """Make sure that levels are known as they are now; it may raise what must be awaited."""
        ...

    def reserve(self, rid: Hashable, wanted: Wanted, now_ms: int) -> Denied | None:
        """Charge all or none; None = reserved.  It may raise what must be awaited first."""
        ...

    def charge(self, limit: Limit, count: int, now_ms: int) -> None:
        """Charge without a reservation."""
        ...

    def touch(self, rid: Hashable, measured: Sequence[int]) -> None:
        """Still alive, and so much was measured."""
        ...

    def settle(self, rid: Hashable, wanted: Wanted, actual: Sequence[int], now_ms: int) -> None:
        """Charge what it really was in place of `wanted`, which was reserved; once."""
        ...


@dataclass(slots=True)
class Own(Fill):
    """Levels that no other gateway charges.

    Whoever reserves settles, so nothing is written down of a reservation: it is counted.
    """

    open: int = 0

    def reserve(self, rid: Hashable, wanted: Wanted, now_ms: int) -> Denied | None:
        """See `Account`."""
        denied = self.take(wanted, now_ms)
        if denied is None:
            self.open += 1
        return denied

    def touch(self, rid: Hashable, measured: Sequence[int]) -> None:
        """Nobody else would have to know."""

    def settle(self, rid: Hashable, wanted: Wanted, actual: Sequence[int], now_ms: int) -> None:
        """See `Account`."""
        self.open -= 1
        for (limit, count), used in zip(wanted, actual, strict=True):
            if used != count or count > limit.burst:  # else it is what was taken
                self._add(limit, used - taken(limit, count), now_ms)

    def sizes(self) -> tuple[int, int]:
        """How many levels and open reservations there are."""
        return len(self._levels), self.open
