"""Waiting for what comes about by itself: until it has, and not for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WITHIN_S = 60.0  # of a machine that is busy with other tests


async def until(is_so: Callable[[], object], within_s: float = WITHIN_S) -> float:
    """Seconds until it is so; an AssertionError when it is not in time."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < within_s, "it did not come about in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - began
