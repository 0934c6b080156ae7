"""Watching a reply on its way: who stops reading is cut, and an event stream is kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from modgate.errors import Cancelled
from modgate.guard import Guard
from modgate.http.egress import Reply
from modgate.timeouts import TOUCH_S, Timeouts

FIRST_TOUCH_S = 1.0  # from when the request came

KeepAlive = Callable[[], Coroutine[object, object, None]]


class ReplyWatch:
    """Looks at one reply every few seconds, from `begin` to `end`.

    `touch()`: called now and then, to note what was used so far.  `close` drops it, so that the
    request's memory is freed at its end without the garbage collector.
    """

    __slots__ = (
        "_guard",
        "_keep_alive",
        "_loop",
        "_reply",
        "_sending",
        "_timeouts",
        "_timer",
        "_touch",
        "_touched",
    )

    def __init__(
        self, reply: Reply, *, guard: Guard, timeouts: Timeouts, touch: Callable[[], None]
    ) -> None:
        self._reply = reply
        self._guard = guard
        self._timeouts = timeouts
        self._touch = touch
        self._touched = reply.sent_at + FIRST_TOUCH_S - TOUCH_S
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive: KeepAlive = _nothing_to_send
        self._sending: asyncio.Task[None] | None = None

    def begin(self, keep_alive: KeepAlive) -> None:
        """Watch from now on; `keep_alive` sends what an idle reply is kept alive with, if any."""
        if self._timer is not None:
            return  # another plan of the same request is served now
        self._keep_alive = keep_alive
        first_s = min(self._timeouts.tick_s, FIRST_TOUCH_S)
        self._timer = self._loop.call_later(first_s, self._tick)

    def _tick(self) -> None:
        now, reply, timeouts = self._loop.time(), self._reply, self._timeouts
        self._timer = self._loop.call_later(timeouts.tick_s, self._tick)
        since = reply.writing_since
        if since is not None and now - since >= timeouts.client_stalled_s:
            self._guard.fire(Cancelled("the client stopped reading"))
            reply.abort()
        elif since is None and now - reply.sent_at >= timeouts.keep_alive_s:
            self._idle()
        if now - self._touched >= TOUCH_S:
            self._touched = now
            self._touch()

    def _idle(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = self._loop.create_task(self._keep_alive())

    async def end(self) -> None:
        """Send no more keep-alives; waits for one that is being sent."""
        self._stop()
        if self._sending is not None and not self._sending.done():
            await asyncio.wait([self._sending])

    def close(self) -> None:
        """Stop watching; a keep-alive that is being sent is cut."""
        self._touch, self._keep_alive = _nothing, _nothing_to_send
        self._stop()
        if self._sending is not None:
            self._sending.cancel()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nothing() -> None:
    pass


async def _nothing_to_send() -> None:
    pass
