"""Requests that lack the same shared limits stand in one line: its first asks the store for all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from modgate.limits.levels import Wanted


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Line:
    """What one trip to the store is to bring.

    `least` is what the first needs, `wanted` what all do, as far as a limit can have it at once.
    `over`: the trip was made, and whoever is in line tries again, unless it `failed`.
    """

    least: Wanted
    wanted: Wanted = ()
    length: int = 0
    failed: bool = False
    over: asyncio.Future[None] = field(default_factory=_future)

    def join(self, wanted: Wanted) -> None:
        """One more; it lacks the same limits in the same order."""
        self.length += 1
        if self.length == 1:
            self.wanted = wanted
            return
        self.wanted = [
            (limit, min(before + count, max(least, limit.room(0))))
            for (limit, least), (_, before), (_, count) in zip(
                self.least, self.wanted, wanted, strict=True
            )
        ]
