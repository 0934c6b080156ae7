"""What a running gateway looks at every two seconds, each thing by itself.

None waits for another, and one that breaks is looked at again: a disk that is full must not keep a
revoked key alive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
Look = Callable[[], Awaitable[None] | None]


async def watch(what: str, look: Look) -> None:
    """Look at it until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if (looking := look()) is not None:
                await looking
        except Exception:
            log.exception("a look failed", extra={"what": what})
