"""Lines of requests that lack the same shared limits, so that one trip to the store serves all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from modgate.limits.levels import Wanted


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Line:
    """The requests that wait for one trip, and what it is to bring.

    `least`: what the first of them needs.  `wanted`: what all of them need, of each limit at most
    what it can ever have at once.
    `over`: done when the trip has ended; then each request tries again, with what was brought, or
    without the store when it `failed`.
    """

    least: Wanted
    wanted: Wanted = ()
    length: int = 0
    failed: bool = False
    over: asyncio.Future[None] = field(default_factory=_future)

    def join(self, wanted: Wanted) -> None:
        """One more request, which lacks the same limits in the same order."""
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
