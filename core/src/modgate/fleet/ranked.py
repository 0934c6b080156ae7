"""Keys in the order of a number that changes: O(log n) a change, O(1) to see the first."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

SPARE = 64


class Ranked:
    """The least first; of equal ones the one with less of something else, then the first that came.

    A heap in which what is out of date stays until it comes up, or until it is half of all.
    """

    __slots__ = ("_heap", "_set", "_values")

    def __init__(self) -> None:
        self._heap: list[tuple[float, float, int, str]] = []
        self._values: dict[str, tuple[float, float, int, str]] = {}
        self._set = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def set(self, key: str, value: float, then: float = 0.0) -> None:
        """It is in, with this number."""
        self._set += 1
        entry = (value, then, self._set, key)
        self._values[key] = entry
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._values) + SPARE:
            self._heap = list(self._values.values())
            heapify(self._heap)

    def discard(self, key: str) -> None:
        """It is out."""
        self._values.pop(key, None)

    def value(self, key: str) -> float:
        """Its number."""
        return self._values[key][0]

    def least(self) -> str | None:
        """The first; None when there is none."""
        while self._heap:
            entry = self._heap[0]
            if self._values.get(entry[3]) is entry:
                return entry[3]
            heappop(self._heap)
        return None

    def first(self, fits: Callable[[str], bool]) -> str | None:
        """The first that fits; it looks at no more than it must."""
        passed: list[tuple[float, float, int, str]] = []
        found: str | None = None
        while found is None and self._heap:
            entry = heappop(self._heap)
            if self._values.get(entry[3]) is entry:
                passed.append(entry)
                found = entry[3] if fits(entry[3]) else None
        for entry in passed:
            heappush(self._heap, entry)
        return found
