"""One client's connection: aiohttp's server protocol, with five things that it does not give.

- A running request is told when its client is gone.
- Bytes that are not HTTP are answered with an error in openai's envelope.
- A request's head has a deadline.
- The rest of a refused body is read only while it keeps coming.
- Whoever does not read our small pages, which need no key, loses the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from modgate.errors import GatewayError
from modgate.http.head import SERVER

log = logging.getLogger(__name__)

Lost = Callable[[], None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# What is left of a refused body is read and thrown away: most clients look for a reply only when
# they have sent everything, and a reset would take it from them.  It is read for so long at most,
# and only while something comes within the second time.
LINGERING_S, LINGERING_IDLE_S = 30.0, 2.0
KEEP_ALIVE_S = 75.0
HEAD_S = 10.0  # for a head, from the connection or its first byte to its last
UNREAD_S = 30.0  # that a client may read nothing of a page
HEADER_AT_MOST, LINE_AT_MOST, HEADERS_AT_MOST = 16 << 10, 8 << 10, 100
HEAD_TOO_LARGE = 431
REASONS = {
    HEAD_TOO_LARGE: f"a header has at most {HEADER_AT_MOST} bytes, a URL {LINE_AT_MOST}, "
    f"and a head {HEADERS_AT_MOST} headers",
}
TOO_MANY = "Too many headers received"  # aiohttp's words: it has no class for it


class FramingRefusal(Protocol):
    """Writes the reply to an error that happened before there was a request."""

    def __call__(self, status: int, message: str) -> tuple[dict[str, str], bytes]:
        """The headers and the body of the reply to bytes that are not HTTP."""
        ...


class Connection(RequestHandler):
    """One client's connection.

    `on_lost`: is called once when the client is gone; whoever runs a request sets it.
    """

    __slots__ = ("_head_timer", "_refusal", "_rest", "_rest_timer", "_unread_timer", "on_lost")

    def __init__(self, server: Server) -> None:
        super().__init__(
            server,
            loop=server.loop,
            access_log=None,  # type: ignore[arg-type]  # None switches it off
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGERING_S,
            max_line_size=LINE_AT_MOST,
            max_field_size=HEADER_AT_MOST,
            max_headers=HEADERS_AT_MOST,
            auto_decompress=False,
        )
        self.on_lost: Lost | None = None
        self._refusal = server.refusal
        self._head_timer: asyncio.TimerHandle | None = None
        self._rest: StreamReader | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport: begin to wait for the first head."""
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(HEAD_S, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Called by the transport: a head that has begun must end in time.

        Bodies have a deadline of their own (`Ingress`).
        """
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._heard()
            self._drop_traceback()
        elif data and self._head_timer is None and self._between:
            self._head_timer = self._loop.call_later(HEAD_S, self._too_slow)

    @property
    def _between(self) -> bool:
        """Whether what comes now is the next head: no request runs, and no refused body goes on."""
        if self._rest is not None and not self._rest.is_eof():
            return False
        return self._current_request is None and not self._messages

    def _heard(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _drop_traceback(self) -> None:
        """Drop the traceback of an error about bytes that are no head.

        It would hold those bytes until Python collects its oldest objects, and a client can send as
        many of them as it likes.
        """
        message, _ = self._messages[-1]
        if isinstance(message, _ErrInfo):
            message.exc.__traceback__ = None

    def _too_slow(self) -> None:
        """The head did not come in time.  There is no request, so nobody is answered."""
        self._head_timer = None
        if self._current_request is None and not self._messages:
            self.force_close()

    def linger(self, rest: StreamReader) -> None:
        """Go on reading a body whose request was answered already, as long as it keeps coming."""
        if self.transport is None:
            return
        before, self._rest = rest.total_bytes, rest
        self._rest_timer = self._loop.call_later(
            LINGERING_IDLE_S, lambda: self._check_rest(rest, before)
        )

    def _check_rest(self, rest: StreamReader, before: int) -> None:
        if rest.is_eof() or self.transport is None:
            return
        if rest.total_bytes > before:
            self.linger(rest)
            return
        self.close()
        self.transport.pause_reading()  # nothing may follow an end
        rest.feed_eof()

    def pause_writing(self) -> None:
        """Called by the transport: the client does not read for now."""
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        """Called by the transport: it reads again."""
        self._read_again()
        super().resume_writing()

    def _look_later(self) -> None:
        if (transport := self.transport) is not None:
            left = transport.get_write_buffer_size()
            self._unread_timer = self._loop.call_later(UNREAD_S, self._look, left)

    def _look(self, before: int) -> None:
        """Cut whoever read nothing since so much was left, and not who reads slowly.

        A request's own reply is left to its `ReplyWatch`.
        """
        if (transport := self.transport) is None:
            return
        if self.on_lost is not None or transport.get_write_buffer_size() < before:
            self._look_later()
        else:
            transport.abort()

    def _read_again(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    async def drained(self) -> None:
        """Wait until the client has read enough to write more; ConnectionError when it left."""
        await self._drain_helper()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the transport: tell the running request, and let aiohttp clean up."""
        self._heard()
        self._read_again()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        rest, self._rest = self._rest, None  # it refers to this connection: break the cycle
        if rest is not None and not rest.is_eof():
            rest.feed_eof()  # nobody will send it: what reads it on may stop
        lost, self.on_lost = self.on_lost, None
        super().connection_lost(exc)
        if lost is not None:
            lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp: the reply to what it refuses by itself; it repeats nothing of it."""
        if exc is not None and status >= 500:
            log.error("handler failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the reply is open already")
        many = isinstance(exc, BadHttpMessage) and exc.message == TOO_MANY
        if many or isinstance(exc, LineTooLong):
            status = HEAD_TOO_LARGE
        headers, body = self._refusal(status, message or "")
        response = web.Response(status=status, body=body, headers=headers)
        response.force_close()
        return response


class Server(web.Server):
    """Makes a `Connection` for each client.

    `refusal`: writes the replies to bytes that are not HTTP.
    """

    def __init__(self, handler: Handler, refusal: FramingRefusal) -> None:
        super().__init__(handler)
        self.loop = self._loop
        self.refusal = refusal

    def __call__(self) -> Connection:
        """A connection for one client."""
        return Connection(self)


def framing_refusal(request_id: Callable[[], str]) -> FramingRefusal:
    """Replies in openai's envelope to bytes that are not HTTP, repeating and logging none of them.

    `request_id`: makes an id for the reply.
    """

    def refuse(status: int, message: str) -> tuple[dict[str, str], bytes]:
        del message
        made = request_id()
        text = REASONS.get(status, "the request is not valid HTTP")
        if status >= 500:
            text = GatewayError.__doc__ or ""
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": text, "type": kind, "param": None, "code": None}
        headers = {"content-type": "application/json", "x-request-id": made, "request-id": made}
        headers["server"] = SERVER
        return headers, orjson.dumps({"error": error})

    return refuse
