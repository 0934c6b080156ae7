"""The clock that is passed in: nothing below floor 3 reads time by itself."""

from __future__ import annotations

import time
from typing import Protocol


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
