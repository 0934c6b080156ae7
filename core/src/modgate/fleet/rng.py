"""Where chance comes from: the `random` module, or a seeded generator of a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Rng(Protocol):
    """What a pick draws lots with."""

    def random(self) -> float:
        """From 0 up to 1."""
        ...

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """So many different ones."""
        ...
