"""aiohttp's server protocol, with four things that it does not give.

Word of a lost client while a request runs, framing errors in the openai envelope, a deadline for a
request's head, and patience with a refused body only while it comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from modgate.errors import GatewayError
from modgate.http.head import SERVER

log = logging.getLogger(__name__)

Lost = Callable[[], None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# What is left of a refused body is read and thrown away: most clients look for a reply when they
# have sent all, and a reset would take it from them.  So long at most, and while something comes.
LINGERING_S, LINGERING_IDLE_S = 30.0, 2.0
KEEP_ALIVE_S = 75.0
HEAD_S = 10.0  # from the connection, or a head's first byte, to its last
HEADER_AT_MOST, LINE_AT_MOST, HEADERS_AT_MOST = 16 << 10, 8 << 10, 100
HEAD_TOO_LARGE = 431
REASONS = {
    HEAD_TOO_LARGE: f"a header has at most {HEADER_AT_MOST} bytes, a URL {LINE_AT_MOST}",
}


class FramingRefusal(Protocol):
    """Who renders an error that happened before there was a request.

    Status, message -> headers, body.
    """

    def __call__(self, status: int, message: str) -> tuple[dict[str, str], bytes]:
        """The reply for bytes that are not HTTP."""
        ...


class Connection(RequestHandler):
    """One client's connection.  `on_lost` is called once when the client is gone."""

    __slots__ = ("_head_timer", "_refusal", "_rest", "_rest_timer", "on_lost")

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Whoever connects has something to say."""
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(HEAD_S, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """A head that has begun must end; the body has rules of its own (`Ingress`)."""
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._heard()
            self._untraced()
        elif data and self._head_timer is None and self._between:
            self._head_timer = self._loop.call_later(HEAD_S, self._too_slow)

    @property
    def _between(self) -> bool:
        """What comes is the next head: no request is in hand, and no refused body's rest."""
        if self._rest is not None and not self._rest.is_eof():
            return False
        return self._current_request is None and not self._messages

    def _heard(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _untraced(self) -> None:
        """What is no head is held by the traceback of its own error, until the oldest objects are
        collected: a client sends as much of it as it likes."""
        message, _ = self._messages[-1]
        if isinstance(message, _ErrInfo):
            message.exc.__traceback__ = None

    def _too_slow(self) -> None:
        """No request, so nobody to answer."""
        self._head_timer = None
        if self._current_request is None and not self._messages:
            self.force_close()

    def linger(self, rest: StreamReader) -> None:
        """The reply is out, and its request's body is not in, nor its client gone."""
        if self.transport is None:
            return
        before, self._rest = rest.total_bytes, rest
        self._rest_timer = self._loop.call_later(
            LINGERING_IDLE_S, lambda: self._still_comes(rest, before)
        )

    def _still_comes(self, rest: StreamReader, before: int) -> None:
        if rest.is_eof() or self.transport is None:
            return
        if rest.total_bytes > before:
            self.linger(rest)
            return
        self.close()
        self.transport.pause_reading()  # nothing may follow an end
        rest.feed_eof()

    async def drained(self) -> None:
        """The client has read enough for more to be written; ConnectionError when it left."""
        await self._drain_helper()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the running request, then let aiohttp clean up."""
        self._heard()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        rest, self._rest = self._rest, None  # which knows its connection, too
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
        """What aiohttp refuses by itself, in the client's own format and without an echo."""
        if exc is not None and status >= 500:
            log.error("handler failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the reply is open already")
        if isinstance(exc, LineTooLong):
            status = HEAD_TOO_LARGE
        headers, body = self._refusal(status, message or "")
        response = web.Response(status=status, body=body, headers=headers)
        response.force_close()
        return response


class Server(web.Server):
    """Makes a Connection for each client."""

    def __init__(self, handler: Handler, refusal: FramingRefusal) -> None:
        super().__init__(handler)
        self.loop = self._loop
        self.refusal = refusal

    def __call__(self) -> Connection:
        """A connection for one client."""
        return Connection(self)


def framing_refusal(request_id: Callable[[], str]) -> FramingRefusal:
    """The openai envelope for bytes that are not HTTP: nothing of them is echoed or logged."""

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
