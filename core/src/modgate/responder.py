"""Writing one request's reply: its head at the first byte, keep-alives, and errors.

A reader that reads no more is noticed here.  The socket is below this: `http/egress.py`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
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
from modgate.timeouts import TOUCH_S, Timeouts

FIRST_TOUCH_S = 1.0  # from when the request came
log = logging.getLogger(__name__)

T = TypeVar("T")
Say = Callable[[GatewayError, Surface, Draft], T]

PLAIN = OpenAI()

OURS = frozenset(
    {
        *("connection", "content-length", "keep-alive", "trailer", "transfer-encoding", "upgrade"),
        *("content-type", "date", "server", "x-request-id", "request-id"),
        *("openai-processing-ms", "x-modgate-units", "x-modgate-queue-ms", "x-modgate-upstream-ms"),
        *("x-modgate-attempts", "x-modgate-degraded", "x-modgate-slo", "x-modgate-limits"),
        *("x-modgate-demo", "x-modgate-dry-run", "x-modgate-replay-of", "idempotent-replayed"),
        *("retry-after", "retry-after-ms", "x-should-retry"),
    }
)
OURS_BEGIN = ("access-control-", "x-ratelimit-", "anthropic-ratelimit-")
WHOLE_AT_MOST = 1 << 30  # bytes of a reply that is held until it is made
KINDS = ("whole", "sse", "chunked")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # Source: RFC 9110 5.6.2, a token
_BREAK = re.compile(r"[\r\n\0]")
SSE_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Responder:
    """Writes one request's reply.  `extra()` gives the headers known by then: rates, demo, CORS.

    `close` lets go of whoever gave it, so that a request's memory is free when it ends: the
    collector need not find it.
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
        self.surface: Surface | None = None

    @property
    def opened(self) -> bool:
        """Whether a byte of the reply may have left."""
        return self.reply.opened

    def watch(self, head: Head | None) -> None:
        """Begin to watch the reader, and to keep an event stream alive."""
        self._head = head
        if self._timer is not None:
            return  # it is watched, and what is served now is another plan
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
        idle = self._ping is None or self._ping.done()
        if (
            self._head is not None
            and self._head.kind == "sse"
            and idle
            and self.surface is not None
        ):
            self._ping = self._loop.create_task(
                self._send_ping(self._head, self.surface.keep_alive)
            )

    async def _send_ping(self, head: Head, ping: bytes) -> None:
        self._open(head)
        await self.reply.write(ping)
        self._last = self._loop.time()

    @property
    def abandoned(self) -> bool:
        """Whether the client left, and its engines finish."""
        return self._draft.abandoned

    async def emit(self, relay: Relay, data: Sequence[bytes]) -> None:
        """Bytes of the reply; raises Cancelled when the client is gone."""
        if self._draft.abandoned:
            discard(self._draft, data, self._timeouts.drained_bytes)
            return
        if relay.head.kind == "whole":
            self._whole.extend(data)
            self._whole_bytes += sum(map(len, data))
            if self._whole_bytes > WHOLE_AT_MOST:
                raise PluginFault(f"a relay made a whole reply of more than {WHOLE_AT_MOST} bytes")
            return
        if not self.reply.opened:
            self._head = relay.head
            self._open(relay.head)
        if not self.pour(data):
            await self.room()

    def pour(self, data: Sequence[bytes]) -> bool:
        """Bytes of an open reply, at once; False: `room` is to be waited for."""
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
        """Until the client has read enough; Cancelled when it is gone."""
        await self.reply.drained()
        if self.reply.gone and not self._draft.abandoned:
            raise client_left()

    def _open(self, head: Head) -> None:
        if self.reply.opened:
            return
        headers = self._headers(SSE_HEADERS if head.kind == "sse" else {}, own_headers(head))
        self.reply.open(200, headers)

    def _headers(self, ours: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
        """What the reply's head says; `own` counts where two say the same."""
        draft = self._draft
        made = draft.request_id
        draft.reply_headers = headers = {
            **{"x-request-id": made, "request-id": made},
            **ours,
            **draft.stages(),
            **self._extra(),
            **own,
        }
        return headers

    async def finish(self, relay: Relay, units: str) -> None:
        """The reply ended well."""
        if relay.head.kind != "whole":
            self._open(relay.head)
            await self._quiet()
            await self.reply.end()
        else:
            own = own_headers(relay.head)
            if units:
                own["x-modgate-units"] = units
            await self.page(own, b"".join(self._whole))
        if self.reply.gone and not self.reply.ended:
            raise client_left()

    async def page(self, own: Mapping[str, str], body: bytes, status: int = 200) -> None:
        """A whole reply, with headers of its own; the content type is one of them."""
        self._draft.first_byte_s = spent_s = self._draft.elapsed()
        headers = self._headers({"openai-processing-ms": str(round(spent_s * 1000))}, own)
        await self.reply.whole(status, headers, body)

    async def fail(self, error: GatewayError, surface: Surface, relay: Relay | None) -> None:
        """Tell the client, as far as the reply is not open.

        After that by event, or by cutting the body.
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
        """What the relay says of an error; None where it says nothing, or breaks over it."""
        try:
            said = relay.fail(error)
            return None if said is None else b"".join(said)
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
        """An error in the client's format; in a plain one where a plugin's surface breaks."""
        try:
            return say(error, surface, self._draft)
        except RAISED:
            extra = {"request_id": self._draft.request_id, "surface": surface.name}
            log.exception("surface failed", extra=extra)
            return say(error, PLAIN, self._draft)

    async def _quiet(self) -> None:
        """No more keep-alives."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ping is not None and not self._ping.done():
            await asyncio.wait([self._ping])

    def close(self) -> None:
        """Stop watching; nothing is sent any more."""
        self._extra, self._touch = dict, _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ping is not None:
            self._ping.cancel()


def _whole(
    error: GatewayError, surface: Surface, draft: Draft
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of an error; ValueError for the status of none."""
    status, headers = surface.status(error), error_headers(error, surface, draft.wall)
    if not 400 <= status <= 599:
        raise ValueError(f"the status of an error is 400 to 599, and not {status}")
    return status, headers, dump(surface.error_body(error, draft.request_id))


def _event(error: GatewayError, surface: Surface, draft: Draft) -> bytes:
    """An error in a stream."""
    return bytes(surface.error_event(error, draft.request_id))


def own_headers(head: Head) -> dict[str, str]:
    """What a relay's head says, its content type first; PluginFault for what no reply can say.

    Of whose request it is, who may read it, what it costs, how it was served and where it ends the
    core speaks alone.
    """
    if head.kind not in KINDS:
        raise PluginFault(f"a Head is of a kind of {', '.join(KINDS)}, and not '{head.kind}'")
    if not _line(head.content_type):
        raise PluginFault("the content type of a Head is a text of one line")
    for name, value in head.headers.items():
        if _NAME.fullmatch(name) is None:
            raise PluginFault("a relay's head has a name that is no header's")
        low = name.lower()
        if low in OURS or low.startswith(OURS_BEGIN):
            raise PluginFault(f"a relay's head must not say '{low}': the gateway does")
        if not _line(value):
            raise PluginFault(f"a relay's head must say '{low}' with a text of one line")
    return {"content-type": head.content_type, **head.headers}


def _line(value: object) -> bool:
    return isinstance(value, str) and _BREAK.search(value) is None


def _nothing() -> None:
    pass
