"""How long a request waits for the shared store of limits, and what a late loop does not prove."""

from __future__ import annotations

import asyncio
from types import TracebackType

LATE = 0.2  # of a deadline
AGAIN = 3


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
