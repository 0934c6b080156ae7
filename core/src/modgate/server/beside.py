"""Work beside the event loop that nobody leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


async def beside(work: Callable[[], Answer]) -> Answer:
    """What it answers, made in a thread; who is cancelled waits for its end.

    So it works with nothing that was closed since, and what it holds is held until then.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # nobody asks for it any more
        raise
