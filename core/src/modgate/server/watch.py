"""What a running gateway looks at every two seconds, each thing by itself.

None waits for another, and one that breaks is looked at again: a disk that is full must not keep a
revoked key alive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
Look = Callable[[], Awaitable[None] | None]


class WatchedFiles:
    """The files that a configuration was read from, and whether one changed since.

    Reading takes a while, so what counts is how they were before it: a second change that comes
    while the first is read is another change.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._seen = {path: changed_at(path) for path in paths}
        self._before = self._seen

    def before_reading(self) -> None:
        """They are read from now on."""
        self._before = {path: changed_at(path) for path in self._seen}

    def use(self, paths: Sequence[Path]) -> None:
        """These were read, and count."""
        self._seen = {path: self._before.get(path, changed_at(path)) for path in paths}

    def changed(self) -> bool:
        """Whether one changed since it was read; said once for each change."""
        seen, self._seen = self._seen, {path: changed_at(path) for path in self._seen}
        return self._seen != seen


def changed_at(path: Path) -> float:
    """When a file was changed last; 0 when it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


async def watch(what: str, look: Look) -> None:
    """Look at it until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if (looking := look()) is not None:
                await looking
        except Exception:
            log.exception("a look failed", extra={"what": what})
