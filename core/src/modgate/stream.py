"""Reading one engine's reply, from its head to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from modgate.api.dialect import Dialect
from modgate.api.relay import Event, State
from modgate.errors import BadReply, GatewayError, Upstream, UpstreamTimedOut
from modgate.faults import RAISED
from modgate.fleet.lease import Lease
from modgate.guard import NEVER, Deadline
from modgate.reply_decoder import ReplyDecoder
from modgate.timeouts import Timeouts
from modgate.tries import Try
from modgate.upstream.client import Answer

AFTER_DONE_S = 0.5  # for the end of the body, once the stream said [DONE]
ASKED_AT_MOST = 8 << 20  # bytes of each answer of an Ask: they are held until the last has come
Push = Callable[[list[Event]], bool]  # takes events, and returns whether it wants more


class Stream:
    """One engine's reply; it ends exactly once, and gives its slot back then.

    `events`: how many came; `unread_s`: how long nobody read, mostly because the client did not.
    """

    __slots__ = (
        "_answer",
        "_at_most",
        "_deadline",
        "_decoder",
        "_done",
        "_idle_s",
        "_lease",
        "_left_at",
        "_reply",
        "_tries",
        "events",
        "unread_s",
    )

    def __init__(
        self,
        answer: Answer,
        dialect: Dialect,
        lease: Lease,
        tries: Sequence[Try],
        deadline: Deadline,
        timeouts: Timeouts,
    ) -> None:
        self._answer = answer
        self._lease = lease
        self._tries = tries
        self._reply = tries[0].reply
        self._deadline = deadline
        self._idle_s = timeouts.idle_s
        asked = tries[0].call < 0
        self._at_most = min(ASKED_AT_MOST, timeouts.reply_bytes) if asked else timeouts.reply_bytes
        self._decoder = ReplyDecoder(dialect, tries[0].reply, answer.headers)
        self._done = False
        self.events = 0
        self.unread_s = 0.0
        self._left_at = 0.0  # since when nobody reads; 0 = somebody does

    async def next(self) -> list[Event]:
        """The next events, at least one; [] when the reply ended well."""
        if self._done:
            return []
        with self._deadline:
            if self._reply == "whole":
                body = await self._answer.whole(self._at_most)
                self._done = True
                events = self._decoder.whole(body, self._answer.headers)
            else:
                self._resume_clock()
                events = await self._read()
                self._leave()
        self.events += len(events)
        if self._tries[0].first_s is None:
            for tried in self._tries:
                tried.saw_event()
            if self._reply != "whole":
                self._lease.first(self)
        if self._done:
            self._answer.close()
            self.close("ok")
        return events

    async def flow(self, push: Push) -> None:
        """Give events to `push` in the transport's callback, for as long as it wants more.

        What is left then, and how the reply ended, comes from `next`.
        """
        if self._done or self._reply == "whole":
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def stop(error: BaseException | None = None) -> None:
            self._answer.keep()
            if over.done():
                return
            if error is not None:
                over.set_exception(error)
            else:
                over.set_result(None)

        def on_bytes(data: bytes) -> None:
            try:
                events = self._decoded(data)
                more = not events or push(events)
            except RAISED as error:  # raised again where `flow` is awaited
                stop(error)
                return
            self._deadline.set(self._deadline.now() + self._idle_s)
            if self._decoder.over or self._decoder.error is not None or not more:
                stop()

        self._resume_clock()
        with self._deadline:
            self._answer.deliver(on_bytes, lambda _: stop())
            await over
        self._leave()

    def _decoded(self, data: bytes) -> list[Event]:
        """The next events; an error that the engine reports in their place is kept for `next`."""
        decoder = self._decoder
        try:
            events = decoder.feed(data)
        except GatewayError as error:
            decoder.error = error
            return []
        self.events += len(events)
        return events

    def _leave(self) -> None:
        """Nobody reads for now: until somebody does again, silence is not the engine's."""
        self._left_at = self._deadline.now()
        self._deadline.at = NEVER

    def _resume_clock(self) -> None:
        """Somebody reads again: from here on silence is the engine's.

        The deadline is set anew and not moved: its timer may be due at a later time, from before
        the first event.
        """
        if self._left_at:
            self._deadline.set(self._back() + self._idle_s)

    def _back(self) -> float:
        """Count the time in which nobody read, which ends now; the answer is the loop's time."""
        now = self._deadline.now()
        self.unread_s += now - self._left_at
        self._left_at = 0.0
        return now

    async def _read(self) -> list[Event]:
        self._raise_broken()
        if self._decoder.over:
            await self._drain()
            return []
        while data := await self._answer.read():
            events = self._decoder.feed(data)
            if self._tries[0].first_s is None:
                self._raise_broken()  # no event was fed yet, so the call may be retried
            if self._decoder.over and self._decoder.error is None:
                await self._drain()
            if events or self._done:
                return events
            if self._tries[0].first_s is not None:  # until then its own deadline stands
                self._deadline.set(self._deadline.now() + self._idle_s)
        self._done = True
        return self._decoder.end()

    @property
    def silent_s(self) -> float:
        """How long it has been read while nothing came; 0 = nobody reads now."""
        deadline = self._deadline
        return 0.0 if self._left_at else deadline.now() + self._idle_s - deadline.at

    def _raise_broken(self) -> None:
        if self._decoder.error is not None:
            raise self._decoder.error

    async def _drain(self) -> None:
        """Read the end of the body behind [DONE], so that the connection can be used again.

        The reply ended well whether that comes or not: an engine may be busy, or clean up first.
        """
        self._done = True
        self._deadline.disarm()
        end = Deadline(_no_end)
        end.set(end.now() + AFTER_DONE_S)
        try:
            with end:
                while await self._answer.read():
                    pass
        except Upstream:
            self._answer.close()
        finally:
            end.disarm()

    def close(self, state: State, error: GatewayError | None = None) -> None:
        """End the attempt; unless it ended well the connection is closed, so the engine stops."""
        ended = [tried.end(state, error) for tried in self._tries]
        if ended[0]:
            if state != "ok":
                self._answer.close()
            self._deadline.disarm()
            if self._left_at:
                self._back()
            self._lease.give_back(state, error, self.events, self.unread_s)
        elif isinstance(error, BadReply):
            self._lease.spoilt()  # the attempt had ended well, but its reply is unusable


def _no_end() -> GatewayError:
    return UpstreamTimedOut("the engine did not end its stream in time")
