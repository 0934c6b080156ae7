"""What a running gateway looks at every two seconds, each thing by itself.

None waits for another, and one that breaks is looked at again: a disk that is full must not keep a
revoked key alive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from modgate.marks import Mark, mark_of

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
Look = Callable[[], Awaitable[None] | None]


class WatchedFiles:
    """The files that a configuration was read from, and whether one changed since.

    Reading takes a while, so each file is compared with what it was before it was read: a change
    that comes meanwhile is a change.  `folder`: what patterns begin at.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: Mapping[Path, Mark] = {}
        self._patterns: Sequence[str] = ()

    def use(self, marks: Mapping[Path, Mark], patterns: Sequence[str]) -> None:
        """These were read, as they were then; what matches a pattern is one of them."""
        self._seen, self._patterns = marks, patterns

    def changed(self) -> bool:
        """Whether one changed since it was read, or came; said once for each change."""
        matching = {path for pattern in self._patterns for path in self._folder.glob(pattern)}
        seen, self._seen = self._seen, {path: mark_of(path) for path in {*self._seen, *matching}}
        return self._seen != seen


async def watch(what: str, look: Look) -> None:
    """Look at it until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if (looking := look()) is not None:
                await looking
        except Exception:
            log.exception("a look failed", extra={"what": what})
