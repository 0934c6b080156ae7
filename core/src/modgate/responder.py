"""Writing one request's reply: its head with the first byte, its bytes, and its end.

`reply_watch.py` looks after it meanwhile, and `error_reply.py` has the words of errors.  The socket
is one floor below, in `http/egress.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from modgate.api.relay import Head, Relay
from modgate.api.surface import Surface
from modgate.disconnect import check_abandoned, client_left, discard
from modgate.draft import Draft
from modgate.error_reply import error_event, last_words, typed_error
from modgate.errors import GatewayError, PluginFault
from modgate.http.egress import Reply
from modgate.own_headers import own_headers
from modgate.reply_watch import ReplyWatch
from modgate.served_headers import stage_headers

WHOLE_AT_MOST = 1 << 30  # bytes of a reply that is held until it is made
SSE_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Responder:
    """Writes one request's reply.

    `extra()`: more headers, known when the head is made: limits, demo, CORS.  `close` drops it, so
    that the request's memory is freed at its end without the garbage collector.
    `discarded_at_most`: bytes of a reply that nobody gets, because its client left.
    """

    def __init__(
        self,
        reply: Reply,
        draft: Draft,
        *,
        watch: ReplyWatch,
        extra: Callable[[], Mapping[str, str]],
        discarded_at_most: int,
    ) -> None:
        self.reply = reply
        self._draft = draft
        self._watch = watch
        self._extra = extra
        self._discarded_at_most = discarded_at_most
        self._whole: list[bytes] = []
        self._whole_bytes = 0
        self._head: Head | None = None
        self._ping = b""

    @property
    def opened(self) -> bool:
        """Whether a byte of the reply may have left."""
        return self.reply.opened

    @property
    def abandoned(self) -> bool:
        """Whether the client left, and its engines finish their calls."""
        return self._draft.abandoned

    def watch(self, surface: Surface, head: Head | None = None) -> None:
        """Begin to watch whether the client reads, and to keep an event stream alive."""
        self._head, self._ping = head, surface.keep_alive
        self._watch.begin(self._keep_alive)

    async def _keep_alive(self) -> None:
        head = self._head
        if head is not None and head.kind == "sse":
            self._open(head)
            await self.reply.write(self._ping)

    async def emit(self, head: Head, data: Sequence[bytes]) -> None:
        """Send bytes of the reply; Cancelled when the client is gone.

        A whole reply is collected until `finish`.
        """
        if self._draft.abandoned:
            discard(self._draft, data, self._discarded_at_most)
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
        if self.reply.put(data[0] if len(data) == 1 else b"".join(data)):
            return True
        if not self._draft.abandoned:
            return False
        discard(self._draft, data, self._discarded_at_most)
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
        """All headers of the reply, which the draft keeps; `own` ones replace their namesakes."""
        draft = self._draft
        made = draft.request_id
        draft.reply_headers = headers = {
            **{"x-request-id": made, "request-id": made},
            **ours,
            **stage_headers(draft),
            **self._extra(),
            **own,
        }
        return headers

    async def finish(self, head: Head, units: str) -> None:
        """End a reply that went well; `units`: what its header says that it did cost."""
        if head.kind != "whole":
            self._open(head)
            await self._watch.end()
            await self.reply.end()
        else:
            own = own_headers(head)
            if units:
                own["x-modgate-units"] = units
            await self.page(own, b"".join(self._whole))
        if self.reply.gone and not self.reply.ended:
            check_abandoned(self._draft, cut_short=False)  # it may have left only now
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
        await self._watch.end()
        if self.reply.gone:
            return
        if not self.reply.opened:
            status, headers, body = typed_error(error, surface, self._draft)
            if error.status in (408, 413):
                self.reply.close_after()
            await self.page(headers, body, status)
            return
        said = last_words(error, relay, self._draft) if relay is not None else None
        if said is None and self._head is not None and self._head.kind == "sse":
            said = error_event(error, surface, self._draft)
        if said is None:
            self.reply.abort()
            return
        await self.reply.write(said)
        await self.reply.end()

    def close(self) -> None:
        """Nothing more is sent."""
        self._extra = dict
        self._watch.close()
