"""Ending a wait from outside, for a reason: the client left, a deadline passed, a reader stalled.

`asyncio.timeout` knows one reason and makes a timer for each wait.  A Guard is entered a thousand
times a stream with one timer, and raises the error that it was fired with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from modgate.errors import GatewayError

NEVER = float("inf")
LATE_S = 0.05  # a loop that calls so much later than it was to could not read what came, either
READS_S = 1.0  # is time enough to read it
AGAIN = 3


class Guard:
    """Cancels the task inside `with` when fired, and raises the reason there.

    Reusable, not reentrant.
    """

    __slots__ = ("_cancelling", "_fired", "_loop", "_task", "reason")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._fired = False
        self.reason: GatewayError | None = None

    def __enter__(self) -> Guard:
        if self.reason is not None:
            raise self.reason
        self._task = asyncio.current_task(self._loop)
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if not self._fired or task is None:
            return
        self._fired = False
        alone = task.uncancel() <= self._cancelling
        if alone and (kind is None or kind is asyncio.CancelledError):
            assert self.reason is not None
            raise self.reason from None

    def fire(self, reason: GatewayError) -> None:
        """End the wait inside `with`, or refuse the next one; only the first reason counts.

        Fired by its own task it cancels nothing, because that would hit some later wait: whoever
        calls what may fire looks at `reason` afterwards.
        """
        if self.reason is not None:
            return
        self.reason = reason
        if self._task is not None and self._task is not asyncio.current_task():
            self._fired = True
            self._task.cancel()


class Deadline(Guard):
    """A Guard with one timer that is moved lazily, so that setting `at` costs nothing.

    Where the loop itself was late, what is waited for may lie there unread: it is given as long
    again, at most three times.  `now()`: the loop's time, which `at` is in.
    """

    __slots__ = ("_again", "_timer", "_wakes", "at", "late", "now")

    def __init__(self, late: Callable[[], GatewayError]) -> None:
        super().__init__()
        self.late = late
        self.now = self._loop.time
        self.at = NEVER
        self._again = AGAIN
        self._timer: asyncio.Handle | None = None
        self._wakes = NEVER  # when `_timer` is due: not every loop's handle can say

    def set(self, at: float) -> None:
        """Fire what `late` makes at this loop time, unless it is moved before."""
        self.at, self._again = at, AGAIN
        if at == NEVER:
            return
        if self._timer is None or self._wakes > at:
            if self._timer is not None:
                self._timer.cancel()
            self._wake(at)

    def _wake(self, at: float) -> None:
        self._wakes = max(at, self._loop.time())
        self._timer = self._loop.call_at(at, self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._loop.time()
        late_s = now - self._wakes
        if now + 0.001 < self.at:
            if self.at != NEVER:
                self._wake(self.at)
        elif late_s > LATE_S and self._again:
            self._again -= 1
            self._wake(now + min(late_s, READS_S))
        else:
            self.fire(self.late())

    def disarm(self) -> None:
        """No deadline any more."""
        self.at = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
