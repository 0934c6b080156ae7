"""Ending tasks, for whoever owns them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


async def end(tasks: Iterable[asyncio.Task[object]]) -> None:
    """Cancel them all, and wait until they are over."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending)
