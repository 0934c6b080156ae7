"""Requests that lack the same shared limits stand in one line: its first asks the store for all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType

from modgate.limits.levels import Wanted

LATE = 0.2  # of a deadline
AGAIN = 3


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
            (limit, min(before + count, max(least, limit.at_once)))
            for (limit, least), (_, before), (_, count) in zip(
                self.least, self.wanted, wanted, strict=True
            )
        ]


class Deadline:
    """At most so long for an answer, of a loop that would read it.

    Where the loop itself was late, the answer may lie there unread: it is given as long again, at
    most three times.  `late`: it was so to the end, and nothing is proven.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._again = AGAIN
        self.late = False
        self._limit = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Deadline:
        await self._limit.__aenter__()
        self._wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._due)

    def _due(self) -> None:
        assert self._timer is not None, "it is the timer that calls"
        now = asyncio.get_running_loop().time()
        self.late = now - self._timer.when() > LATE * self._seconds
        if self.late and self._again:
            self._again -= 1
            self._wait()
        else:
            self._limit.reschedule(now)


def still_wanted() -> None:
    """A client library may take the cancelling of its task for an error, or go on all the same."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
