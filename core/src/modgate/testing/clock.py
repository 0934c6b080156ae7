"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """A `Clock` whose two times move together."""

    def __init__(self, now: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = now
        self._wall = wall

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time pass; ValueError when it would run backwards."""
        if seconds < 0:
            raise ValueError("a clock does not run backwards")
        self._now += seconds
        self._wall += seconds
