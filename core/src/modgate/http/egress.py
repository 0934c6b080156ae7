"""The reply: it opens at its first byte, knows when the client is gone, and counts what it sent."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping

from aiohttp import web
from multidict import CIMultiDict

from modgate.http.connection import Connection

RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time at all


class Reply:
    """One request's reply.  Writing after the client left is silent: `gone` says so.

    `writing_since`: loop time since when a write waits for the client to read; None when none does.
    """

    __slots__ = (
        "_closes",
        "_connection",
        "_leaving",
        "_now",
        "_request",
        "_response",
        "_send_gone",
        "bytes_out",
        "ended",
        "gone",
        "opened",
        "status",
        "writing_since",
    )

    def __init__(
        self,
        request: web.BaseRequest,
        now: Callable[[], float],
        *,
        leaving: Callable[[], bool] = bool,
    ) -> None:
        """`leaving`: asked when the head is made; then the reply says `Connection: close`."""
        self._request = request
        self._now = now
        self._leaving = leaving
        self._closes = False
        protocol = request.protocol
        self._connection = protocol if isinstance(protocol, Connection) else None
        self._response: web.StreamResponse | None = None
        self._send_gone: Callable[[], None] | None = None
        self.opened = False
        self.ended = False
        self.gone = request.transport is None
        self.bytes_out = 0
        self.status = 0
        self.writing_since: float | None = None
        if self._connection is not None:
            self._connection.on_lost = self._lost

    def on_gone(self, callback: Callable[[], None] | None) -> None:
        """Call this once when the client leaves; at once if it has left already."""
        self._send_gone = callback
        if self.gone and callback is not None:
            callback()

    def _lost(self) -> None:
        self.gone = True
        if self._send_gone is not None:
            self._send_gone()

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a reply of known length."""
        self.opened = True
        self.status = status
        response = web.Response(status=status, headers=CIMultiDict(headers), body=body)
        self._begin(response)
        self.writing_since = self._now()
        try:
            await response.prepare(self._request)
            await response.write_eof()
            self.bytes_out += len(body)
            self.ended = True
        except ConnectionError:
            self._lost()
        finally:
            self.writing_since = None

    async def open(self, status: int, headers: Mapping[str, str]) -> None:
        """Open a reply of unknown length; the head travels with the first write."""
        self.opened = True
        self.status = status
        response = web.StreamResponse(status=status, headers=CIMultiDict(headers))
        self._begin(response)
        try:
            await response.prepare(self._request)
        except ConnectionError:
            self._lost()

    def _begin(self, response: web.StreamResponse) -> None:
        self._response = response
        if self._closes or self._leaving():
            response.force_close()

    async def write(self, data: bytes) -> None:
        """Send more; waits while the client does not read."""
        if self.gone or not data:
            return
        assert self._response is not None
        self.writing_since = self._now()
        try:
            await self._response.write(data)
            self.bytes_out += len(data)
        except ConnectionError:
            self._lost()
        finally:
            self.writing_since = None

    async def end(self) -> None:
        """End an open reply so that it looks whole."""
        if self.gone:
            return
        assert self._response is not None
        try:
            await self._response.write_eof()
            self.ended = True
        except ConnectionError:
            self._lost()

    def abort(self) -> None:
        """Cut the connection, so that a body that failed cannot look whole.

        By a reset: after an orderly close the kernel would keep what a client that does not read
        left unread, megabytes for each, and try for minutes to deliver it.
        """
        transport = self._request.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()
        self.gone = True

    def close_after(self) -> None:
        """Say that this connection is not used again."""
        self._closes = True
        if self._connection is not None:
            self._connection.close()

    def finish(self) -> web.StreamResponse:
        """What aiohttp's handler must return."""
        if self._connection is not None:
            self._connection.on_lost = None
        self._send_gone = None
        return self._response if self._response is not None else web.Response(status=500)
