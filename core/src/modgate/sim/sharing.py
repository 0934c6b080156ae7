"""Work that an engine does on several calls at once: each gains alike, and is done when it is due.

Pure: `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")
CLOSE = 1e-6


class Sharing(Generic[T]):
    """The calls that an engine works on side by side.

    `gained`: units that each has gained since 0; a call ends when this comes to its own mark.
    Whoever holds it says how many seconds a unit takes as things stand, and calls `advance` before
    that changes.
    """

    __slots__ = ("_items", "gained", "since")

    def __init__(self) -> None:
        self._items: list[tuple[float, int, T]] = []
        self.gained = 0.0
        self.since = 0.0

    def __len__(self) -> int:
        return len(self._items)

    def advance(self, now: float, each_s: float) -> None:
        """Let time pass up to now, in which each unit took `each_s` seconds."""
        if self._items:
            self.gained += (now - self.since) / each_s
        self.since = now

    def add(self, units: float, number: int, item: T) -> None:
        """Begin a call of so many units; `number` is its own, and decides between those that end
        together."""
        heappush(self._items, (self.gained + units, number, item))

    def left_s(self, each_s: float) -> float:
        """Seconds until the next call is done, as things stand."""
        return max(0.0, self._items[0][0] - self.gained) * each_s

    def done(self) -> Iterator[T]:
        """The calls that are done, which are taken out."""
        while self._items and self._items[0][0] <= self.gained + CLOSE:
            yield heappop(self._items)[2]
