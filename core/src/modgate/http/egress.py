"""Writing a reply to a client, who may leave or stop reading at any time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.http import HttpVersion11

from modgate.http.connection import Connection
from modgate.http.head import LAST_CHUNK, chunk, head
from modgate.http.ingress import waits_for_continue

RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing resets the connection
ERRORS = 400  # and above
SMALL_BYTES = 1 << 20  # of a refused body that is read to its end to keep the connection
SLICE_BYTES = 1 << 18  # of a whole body, which is counted as far as its client reads it


class Sent(web.StreamResponse):
    """What aiohttp's handler returns for a reply that we wrote ourselves.

    It only says whether the connection takes another request.
    """

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request."""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing: the head was sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the body was sent."""


STAYS, CLOSES = Sent(True), Sent(False)


class Reply:
    """One request's reply.  It is sent `whole`, or it is opened, written piece by piece, and ended.

    `opened`: its head was made, so its status can no longer change.
    `ended`: all of it was written.
    `gone`: the client left; writing does nothing from then on, and raises nothing.
    `bytes_out`: bytes of the body that were written.
    `sent_at`: when bytes of an open reply were last written, by `now`; when it was made, before.
    `writing_since`: the event loop's time since when a write waits for the client to read; None
    when none does.
    """

    __slots__ = (
        "_closes",
        "_connection",
        "_framed",
        "_head",
        "_leaving",
        "_now",
        "_request",
        "_send_gone",
        "bytes_out",
        "ended",
        "gone",
        "opened",
        "sent_at",
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
        """`leaving`: is asked when the head is made; if so, the reply says `Connection: close`."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        self._request = request
        self._connection = connection
        self._now = now
        self._leaving = leaving
        self._closes = not request.keep_alive
        self._head = b""  # made, and to travel with the first bytes of the body
        self._framed = False
        self._send_gone: Callable[[], None] | None = None
        self.opened = False
        self.ended = False
        self.gone = connection.transport is None
        self.bytes_out = 0
        self.status = 0
        self.sent_at = now()
        self.writing_since: float | None = None
        connection.on_lost = self._lost

    def on_gone(self, callback: Callable[[], None] | None) -> None:
        """Call this when the client leaves, once; at once if it has left already."""
        self._send_gone = callback
        if self.gone and callback is not None:
            callback()

    def _lost(self) -> None:
        self.gone = True
        if self._send_gone is not None:
            self._send_gone()

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole reply, whose length is known."""
        self._begin(status, headers, len(body))
        if self._request.method == "HEAD" or not body:
            front, self._head = self._head, b""
            self._put(front)
            body = b""
        for at in range(0, len(body), SLICE_BYTES):
            await self.write(body[at : at + SLICE_BYTES])
            if self.gone:
                break  # same result without this: nothing is written any more
        self.ended = not self.gone

    def open(self, status: int, headers: Mapping[str, str]) -> None:
        """Open a reply of unknown length; its head is sent with the first bytes."""
        self._begin(status, headers, None)
        self._framed = self._http_1_1

    @property
    def _http_1_1(self) -> bool:
        return self._request.version >= HttpVersion11

    def _begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        modern = self._http_1_1
        if self._leaving() or (length is None and not modern):
            self._closes = True
        elif status >= ERRORS and not self._request.content.at_eof():
            self._closes = self._closes or not self._rest_is_small()
        self._head = head(
            status, headers, length=length, http_1_1=modern, keep_alive=not self._closes
        )
        self.opened = True  # now that it could be made
        self.status = status

    def _rest_is_small(self) -> bool:
        """Whether the rest of a refused body is short, and will come, so that it can be read."""
        length = self._request.content_length
        small = length is not None and length <= SMALL_BYTES
        return small and not waits_for_continue(self._request)

    def put(self, data: bytes) -> bool:
        """Write more of the body at once.

        False when the caller must wait (`drained`) for the client to read, or when it is gone.
        """
        self.sent_at = self._now()
        if self.gone:
            return False
        if not data:
            return True
        transport = self._connection.transport
        if transport is None:
            self._lost()
            return False
        framed = chunk(data) if self._framed else data
        if self._head:
            framed, self._head = self._head + framed, b""
        transport.write(framed)
        if self.gone:
            return False
        self.bytes_out += len(data)
        return not self._connection.writing_paused

    async def write(self, data: bytes) -> None:
        """Write more, and wait while the client does not read."""
        if not self.put(data):
            await self.drained()

    async def drained(self) -> None:
        """Wait until there is room again for what is to be written."""
        if self.gone or not self._connection.writing_paused:
            return
        self.writing_since = self._now()
        try:
            await self._connection.drained()
        except ConnectionError:
            self._lost()
        finally:
            self.writing_since = None

    async def end(self) -> None:
        """End an open reply, in the way that tells the client it is whole."""
        if self.gone:
            return
        last, self._head = self._head + (LAST_CHUNK if self._framed else b""), b""
        self._put(last)
        await self.drained()
        self.ended = not self.gone

    def _put(self, data: bytes) -> None:
        """Hand bytes to the kernel that are no part of the body."""
        transport = self._connection.transport
        if transport is None:
            self._lost()
        else:
            transport.write(data)

    def abort(self) -> None:
        """Cut the connection, so that a reply that failed cannot look whole.

        It is reset.  After an orderly close the kernel would keep what a client did not read,
        megabytes for each, and try for minutes to deliver it.
        """
        transport = self._request.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()
        self.gone = True

    def close_after(self) -> None:
        """Take no further request on this connection."""
        self._closes = True
        self._connection.close()

    def finish(self) -> web.StreamResponse:
        """Let go of the connection; the answer is what aiohttp's handler must return."""
        self._connection.on_lost = None
        self._send_gone = None
        if not self._request.content.is_eof():
            self._connection.linger(self._request.content)
        if not self.opened:
            return web.Response(status=500)
        return CLOSES if self._closes or not self.ended else STAYS
