"""A deadline for the answers of the shared store that knows when our own event loop was late."""

from __future__ import annotations

import asyncio
from types import TracebackType

LATE = 0.2  # this part of a deadline is late
EXTENSIONS = 3


class StoreDeadline:
    """An `async with` that ends with TimeoutError after so many seconds.

    When the event loop calls the timer late, the answer may have come and lie there unread.  Then
    as much time is given once more, at most `EXTENSIONS` times.

    `late`: the loop was late the last time, too, so a TimeoutError says nothing about the store.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._extensions = EXTENSIONS
        self.late = False
        self._limit = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> StoreDeadline:
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
        if self.late and self._extensions:
            self._extensions -= 1
            self._wait()
        else:
            self._limit.reschedule(now)


def still_wanted() -> None:
    """Raise CancelledError when this task was cancelled.

    A client library may have taken that for an error of its own, or have gone on all the same.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
