"""The clock that is passed in: nothing below floor 3 reads time by itself."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Literal, Protocol


class Clock(Protocol):
    """Two times: one to measure with, one to write down."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


def iso(wall: float, to: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """A time of day in ISO 8601, in UTC: `2026-03-01T06:00:00Z`."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec=to).replace("+00:00", "Z")


def epoch_second(written: str | date) -> int:
    """The epoch second of a day, or of a moment; UTC where it says nothing else.

    ValueError, in words for whoever wrote it.
    """
    at = written
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError:
            text = "a day reads 2026-03-01, a moment 2026-03-01T06:00:00Z"
            raise ValueError(text) from None
    if not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day, tzinfo=UTC)
    if at.microsecond:
        raise ValueError("a moment is a whole second")
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp())
