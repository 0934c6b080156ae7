"""Keeping the levels of a gateway that shares them with nobody in a file beside its state.

They are written every few seconds and when the gateway closes, and the next start goes on with
them: a restart must not refill the quota of a month.  Requests that a kill cut off are charged as
they are billed, for what was last measured of them, or else for their reserve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from modgate.limits.account import OwnAccount
from modgate.limits.kept_levels import KeptLevels


class LevelFile:
    """Reads the levels when it is made, and writes them while it runs.

    `now_ms`: the time that levels count in.  `ahead_ms`: how far the wall clock is ahead of it; the
    next start begins to count by the wall clock.
    """

    def __init__(
        self, path: Path, now_ms: Callable[[], int], ahead_ms: Callable[[], int] = lambda: 0
    ) -> None:
        self._kept = KeptLevels(path, OwnAccount().written(0))  # no file is made for nothing
        self.levels = self._kept.read(OwnAccount, now_ms())
        self._now_ms, self._ahead_ms = now_ms, ahead_ms
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        work = self._kept.keep(self._written, self._closing)
        self._task = asyncio.get_running_loop().create_task(work)

    def _written(self) -> bytes:
        return self.levels.written(self._now_ms(), self._ahead_ms())

    async def close(self) -> None:
        """Write a last time, and stop."""
        self._closing.set()
        if self._task is not None:
            await self._task
