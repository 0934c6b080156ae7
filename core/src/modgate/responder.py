"""Writing one request's reply: its head with the first byte, keep-alives, and errors.

A client that stops reading is noticed here.  The socket is one floor below, in `http/egress.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from modgate.api.relay import Head, Relay
from modgate.api.surface import Surface, dump
from modgate.disconnect import client_left, discard
from modgate.draft import Draft
from modgate.errors import Cancelled, GatewayError, PluginFault
from modgate.faults import RAISED
from modgate.guard import Guard
from modgate.http.egress import Reply
from modgate.http.surfaces import OpenAI, error_headers
from modgate.own_headers import own_headers
from modgate.timeouts import TOUCH_S, Timeouts

FIRST_TOUCH_S = 1.0  # from when the request came
log = logging.getLogger(__name__)

T = TypeVar("T")
Say = Callable[[GatewayError, Surface, Draft], T]

PLAIN = OpenAI()

WHOLE_AT_MOST = 1 << 30  # bytes of a reply that is held until it is made
LAST_WORDS_AT_MOST = 1000  # pieces that a relay ends a broken stream with
SSE_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Responder:
    """Writes one request's reply.

    `extra()`: more headers, known when the head is made: limits, demo, CORS.  `touch()`: called
    every few seconds, to note what was used so far.  `close` drops both, so that the request's
    memory is freed at its end without the garbage collector.
    """

    def __init__(
        self,
        reply: Reply,
        draft: Draft,
        *,
        guard: Guard,
        timeouts: Timeouts,
        extra: Callable[[], Mapping[str, str]],
        touch: Callable[[], None],
    ) -> None:
        self.reply = reply
        self._draft = draft
        self._guard = guard
        self._timeouts = timeouts
        self._extra = extra
        self._touch = touch
        self._loop = asyncio.get_running_loop()
        self._whole: list[bytes] = []
        self._whole_bytes = 0
        self._last = self._loop.time()
        self._touched = self._last
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None
        self._head: Head | None = None
        self._surface: Surface | None = None

    @property
    def opened(self) -> bool:
        """Whether a byte of the reply may have left."""
        return self.reply.opened

    def watch(self, surface: Surface, head: Head | None = None) -> None:
        """Begin to watch whether the client reads, and to keep an event stream alive."""
        self._surface, self._head = surface, head
        if self._timer is not None:
            return  # another plan of the same request is served now
        self._touched = self._last + FIRST_TOUCH_S - TOUCH_S
        tick_s = self._timeouts.tick_s
        self._timer = self._loop.call_later(min(tick_s, FIRST_TOUCH_S), self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_later(self._timeouts.tick_s, self._tick)
        since = self.reply.writing_since
        if since is not None and now - since >= self._timeouts.client_stalled_s:
            self._guard.fire(Cancelled("the client stopped reading"))
            self.reply.abort()
        elif since is None and now - self._last >= self._timeouts.keep_alive_s:
            self._keep_alive()
        if now - self._touched >= TOUCH_S:
            self._touched = now
            self._touch()

    def _keep_alive(self) -> None:
        head, surface, ping = self._head, self._surface, self._ping
        if head is None or head.kind != "sse" or surface is None:
            return
        if ping is None or ping.done():
            self._ping = self._loop.create_task(self._send_ping(head, surface.keep_alive))

    async def _send_ping(self, head: Head, ping: bytes) -> None:
        self._open(head)
        await self.reply.write(ping)
        self._last = self._loop.time()

    @property
    def abandoned(self) -> bool:
        """Whether the client left, and its engines finish their calls."""
        return self._draft.abandoned

    async def emit(self, head: Head, data: Sequence[bytes]) -> None:
        """Send bytes of the reply; Cancelled when the client is gone.

        A whole reply is collected until `finish`.
        """
        if self._draft.abandoned:
            discard(self._draft, data, self._timeouts.drained_bytes)
            return
        if head.kind == "whole":
            if portion := b"".join(data):  # many small pieces are held as one
                self._whole.append(portion)
            self._whole_bytes += len(portion)
            if self._whole_bytes > WHOLE_AT_MOST:
                raise PluginFault(f"a relay made a whole reply of more than {WHOLE_AT_MOST} bytes")
            return
        if not self.reply.opened:
            self._head = head
            self._open(head)
        if not self.pour(data):
            await self.room()

    def pour(self, data: Sequence[bytes]) -> bool:
        """Send bytes of an open reply without a wait; False: wait for `room` before the next."""
        if self._draft.first_byte_s is None:
            self._draft.first_byte_s = self._draft.elapsed()
        self._last = self._loop.time()
        if self.reply.put(data[0] if len(data) == 1 else b"".join(data)):
            return True
        if not self._draft.abandoned:
            return False
        discard(self._draft, data, self._timeouts.drained_bytes)
        return True

    async def room(self) -> None:
        """Wait until the client has read enough; Cancelled when it is gone."""
        await self.reply.drained()
        if self.reply.gone and not self._draft.abandoned:
            raise client_left()

    def _open(self, head: Head) -> None:
        if self.reply.opened:
            return
        headers = self._headers(SSE_HEADERS if head.kind == "sse" else {}, own_headers(head))
        self.reply.open(200, headers)

    def _headers(self, ours: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
        """All headers of the reply; those of `own` replace others of the same name."""
        draft = self._draft
        made = draft.request_id
        draft.reply_headers = headers = {
            **{"x-request-id": made, "request-id": made},
            **ours,
            **draft.stage_headers(),
            **self._extra(),
            **own,
        }
        return headers

    async def finish(self, head: Head, units: str) -> None:
        """End a reply that went well; `units`: what its header says that it did cost."""
        if head.kind != "whole":
            self._open(head)
            await self._quiet()
            await self.reply.end()
        else:
            own = own_headers(head)
            if units:
                own["x-modgate-units"] = units
            await self.page(own, b"".join(self._whole))
        if self.reply.gone and not self.reply.ended:
            raise client_left()

    async def page(self, own: Mapping[str, str], body: bytes, status: int = 200) -> None:
        """Send a whole reply; `own`: its headers, the content type among them."""
        self._draft.first_byte_s = spent_s = self._draft.elapsed()
        headers = self._headers({"openai-processing-ms": str(round(spent_s * 1000))}, own)
        await self.reply.whole(status, headers, body)

    async def fail(self, error: GatewayError, surface: Surface, relay: Relay | None) -> None:
        """Tell the client of an error: as a typed reply, and once the reply is open by an event.

        Where neither can be, the body is cut, so that it cannot look whole.
        """
        await self._quiet()
        if self.reply.gone:
            return
        if not self.reply.opened:
            await self._typed(error, surface)
            return
        said = self._last_words(error, relay) if relay is not None else None
        if said is None and self._head is not None and self._head.kind == "sse":
            said = self._worded(error, surface, _event)
        if said is None:
            self.reply.abort()
            return
        await self.reply.write(said)
        await self.reply.end()

    def _last_words(self, error: GatewayError, relay: Relay) -> bytes | None:
        """The relay's own end of the stream; None where it has none, or its code fails."""
        try:
            said = relay.fail(error)
            if said is None:
                return None
            words = list(islice(said, LAST_WORDS_AT_MOST + 1))
            if len(words) > LAST_WORDS_AT_MOST:
                raise PluginFault(f"a relay failed in more than {LAST_WORDS_AT_MOST} pieces")
            return b"".join(words)
        except RAISED:
            extra = {"request_id": self._draft.request_id, "relay": type(relay).__name__}
            log.exception("fail failed", extra=extra)
            return None

    async def _typed(self, error: GatewayError, surface: Surface) -> None:
        status, headers, body = self._worded(error, surface, _whole)
        if error.status in (408, 413):
            self.reply.close_after()
        await self.page({"content-type": "application/json", **headers}, body, status)

    def _worded(self, error: GatewayError, surface: Surface, say: Say[T]) -> T:
        """An error in the client's format; in openai's where the code of a surface fails."""
        try:
            return say(error, surface, self._draft)
        except RAISED:
            extra = {"request_id": self._draft.request_id, "surface": surface.name}
            log.exception("surface failed", extra=extra)
            return say(error, PLAIN, self._draft)

    async def _quiet(self) -> None:
        """Send no more keep-alives; waits for one that is being sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ping is not None and not self._ping.done():
            await asyncio.wait([self._ping])

    def close(self) -> None:
        """Stop watching; nothing more is sent."""
        self._extra, self._touch = dict, _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ping is not None:
            self._ping.cancel()


def _whole(
    error: GatewayError, surface: Surface, draft: Draft
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of an error reply; ValueError for a status below 400."""
    status, headers = surface.status(error), error_headers(error, surface, draft.wall)
    if not 400 <= status <= 599:
        raise ValueError(f"the status of an error is 400 to 599, and not {status}")
    return status, headers, dump(surface.error_body(error, draft.request_id))


def _event(error: GatewayError, surface: Surface, draft: Draft) -> bytes:
    """An error as an event of a stream."""
    return bytes(surface.error_event(error, draft.request_id))


def _nothing() -> None:
    pass
