"""An engine's reply as it comes.

A task reads it, or it is delivered to a function at the moment at which it arrives.  Nothing here
has a deadline: whoever reads has one (guard.py), and closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from modgate.errors import BadReply, GatewayError, UpstreamFailed
from modgate.upstream.connection import Connection
from modgate.upstream.head import Head
from modgate.upstream.parser import Parser

HELD_BYTES = 1 << 17  # of a reply that may wait for its reader; beyond, the engine is stopped

OnBytes = Callable[[bytes], None]
OnEnd = Callable[[GatewayError | None], None]


class Answer:
    """One call on its connection, and the reply to it.

    There are three ways to take the reply, of which one is used: `read`, `whole` or `deliver`.
    When the reply has ended, and the call was sent whole, the connection is given back by itself.
    For every other end call `close`.

    `status`: 0 until the head has come.
    """

    __slots__ = (
        "_at_most",
        "_connection",
        "_error",
        "_held",
        "_keeps",
        "_loop",
        "_on_bytes",
        "_on_end",
        "_over",
        "_parser",
        "_paused",
        "_sender",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, *, keeps: bool = True
    ) -> None:
        """`keeps`: whether the connection may carry another call afterwards."""
        self._connection: Connection | None = connection
        self._loop = loop
        self._keeps = keeps
        self._parser = Parser()
        self._held = bytearray()  # not its pieces, of which each may be a byte and weigh fifty
        self._at_most: int | None = None
        self._paused = False
        self._over = False
        self._error: GatewayError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._on_bytes: OnBytes | None = None
        self._on_end: OnEnd | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}
        connection.carry(self)

    # What the client calls

    def send(self, head: bytes, body: bytes | Iterator[bytes]) -> None:
        """Send the call; a body that is read from the spool is sent while the reply comes."""
        assert self._connection is not None
        if isinstance(body, bytes):
            self._connection.write(head, body)
        else:
            self._connection.write(head)
            self._sender = self._loop.create_task(self._stream(self._connection, body))

    def news(self) -> asyncio.Future[None]:
        """A future that is done when something happens next; only one may wait.

        UpstreamFailed or BadReply when the call has failed already.
        """
        if self._error is not None:
            raise self._error
        self._waiter = waiter = self._loop.create_future()
        return waiter

    # What a reader calls

    async def read(self) -> bytes:
        """What came since: at least one byte, or b"" at the end of a whole reply.

        An Upstream error when the reply ends in any other way.
        """
        while not self._held:
            if self._over:
                return b""
            await self.news()
        return self._taken()

    async def whole(self, at_most: int) -> bytes:
        """Wait for the whole body; BadReply when it has more than `at_most` bytes."""
        self._at_most = at_most
        self.resume()
        self._bound()
        while not self._over:
            await self.news()
        if len(self._held) > at_most:
            raise self._too_long()
        return self._taken()

    def deliver(self, on_bytes: OnBytes, on_end: OnEnd) -> None:
        """Call `on_bytes` with all bytes as they come, and `on_end` once when the reply ends.

        For what came before this they are called at once, and later as the event loop reads from
        the network.  They must not raise, and may call `pause`, `resume` and `close`.  `on_end` is
        given None for a whole reply, or else the error; it is not called after `close`.
        """
        self._on_bytes, self._on_end = on_bytes, on_end
        if self._held:
            on_bytes(self._taken())
        self._tell()

    def keep(self) -> None:
        """Stop delivering; what comes from now on waits to be read."""
        self._on_bytes = self._on_end = None

    def pause(self) -> None:
        """Deliver no more until `resume`; the engine stops sending when buffers are full."""
        if self._connection is not None and not self._paused:
            self._paused = True
            self._connection.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._paused:
            self._paused = False
            if self._connection is not None:
                self._connection.resume()

    def close(self) -> None:
        """Stop reading.  A reply that goes on loses its connection, which stops the engine."""
        self._on_bytes = self._on_end = None
        if self._connection is not None:
            self._fail(UpstreamFailed("the call was closed"))

    # What the connection calls

    def take(self, data: bytes) -> None:
        """Take bytes of the reply."""
        parser = self._parser
        body = parser.feed(data)
        if not self.status and parser.head is not None:
            self._begin(parser.head)
        if body and self._error is None:
            if self._on_bytes is not None:
                self._on_bytes(body)
            else:
                self._hold(body)
        if parser.over:
            self._finish()
        elif parser.error is not None:
            self._fail(BadReply(f"the engine's reply cannot be read: {parser.error}"))

    def closed(self) -> None:
        """The engine closed its side of the connection."""
        if self._parser.end():
            self._finish()
        else:
            self.lost()

    def lost(self) -> None:
        """The connection was lost before the reply ended."""
        if self.status:
            reason = "the engine closed the connection before its reply ended"
        else:
            reason = "the engine closed the connection without a reply"
        self._fail(UpstreamFailed(reason))

    # Inside

    def _begin(self, head: Head) -> None:
        self.status, self.headers = head.status, head.headers
        if head.encoding.lower() != "identity":
            self._fail(BadReply("the engine encoded its reply, which it was not asked for"))
        self._wake()

    def _hold(self, body: bytes) -> None:
        """Keep bytes of the body until they are read."""
        self._held += body
        if self._at_most is not None:
            self._bound()  # nobody is woken before the end
            return
        self._wake()
        if len(self._held) > HELD_BYTES:
            self.pause()

    def _bound(self) -> None:
        """Fail when a reply that is wanted whole is too long, or says that it will be."""
        assert self._at_most is not None
        head = self._parser.head
        declared = head.length if head is not None else None
        if max(len(self._held), declared or 0) > self._at_most:
            self._fail(self._too_long())

    def _too_long(self) -> BadReply:
        return BadReply(f"the engine's reply has more than {self._at_most} bytes")

    def _taken(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        self.resume()
        return data

    def _finish(self) -> None:
        """The reply is whole: give the connection back, or close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._over = True
        if self._paused:
            self._paused = False
            connection.resume()
        head = self._parser.head
        if self._stop_sending() and self._keeps and self._parser.again and head is not None:
            connection.release(head.idle_s)
        else:
            connection.abort()
        self._wake()
        self._tell()

    def _fail(self, error: GatewayError) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._error = error
        self._stop_sending()
        connection.abort()
        self._wake()
        self._tell()

    def _tell(self) -> None:
        if self._on_end is not None and self._connection is None:
            on_end, self._on_end, self._on_bytes = self._on_end, None, None
            on_end(self._error)

    def _stop_sending(self) -> bool:
        """Stop sending; whether everything was sent."""
        sender, self._sender = self._sender, None
        if sender is None:
            return True
        sender.cancel()
        return False

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _stream(self, connection: Connection, body: Iterator[bytes]) -> None:
        try:
            for piece in body:
                await connection.drained()
                connection.write(piece)
        except UpstreamFailed as error:
            self._sender = None
            self._fail(error)
        except OSError:
            self._sender = None
            self._fail(UpstreamFailed("a spool file cannot be read"))
        self._sender = None
