"""Time that passes when nothing else can happen: a loop that waits for nobody."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class _Skipping(selectors.SelectSelector):
    """Waits for nobody: it moves its clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """AssertionError when nothing will ever happen again."""
        assert timeout is not None, "everything waits, and nothing is due"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual seconds, from 0."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._skipping.now

    def stall(self, seconds: float) -> None:
        """As if a callback had held the loop for so long."""
        self._skipping.now += seconds


def run(main: Coroutine[None, None, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
