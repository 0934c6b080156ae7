"""One connection to an engine: bytes to the answer that it carries, and news of its end."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from modgate.upstream.answer import Answer

# An engine whose machine vanished is found within a minute, also where a deadline is longer: by
# probes while nothing is said, and by the user timeout (milliseconds) once something was sent.
KEEP_ALIVE = (
    *(("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)),
    ("TCP_USER_TIMEOUT", 60_000),
)
_NEWS = select.POLLIN | select.POLLERR | select.POLLHUP


@runtime_checkable
class _Wire(Protocol):
    """What is used of a transport; uvloop's are no `asyncio.Transport`."""

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def get_extra_info(self, name: str) -> socket.socket: ...


class Connection(asyncio.Protocol):
    """A connection that carries one call at a time.

    `idle(connection)`: it can carry another one.  `gone(connection)`: it never will; called once.
    """

    __slots__ = ("_answer", "_drained", "_full", "_gone", "_idle", "_transport", "idle_s", "open")

    def __init__(
        self, idle: Callable[[Connection], None], gone: Callable[[Connection], None]
    ) -> None:
        self._idle = idle
        self._gone = gone
        self._answer: Answer | None = None
        self._transport: _Wire | None = None
        self._full = False
        self._drained: asyncio.Future[None] | None = None
        self.idle_s: float | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it alive below HTTP."""
        assert isinstance(transport, _Wire)
        self._transport = transport
        if not self.open:  # closed while it was being connected
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE:
            option: int | None = getattr(socket, name, None)
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def carry(self, answer: Answer) -> None:
        """What comes from now on is this answer's."""
        self._answer = answer

    def write(self, *pieces: bytes) -> None:
        """Send, or hold it until the engine takes it."""
        assert self._transport is not None
        if self.open:
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    async def drained(self) -> None:
        """Until the engine has taken enough of what was written; one waits at a time."""
        if not self._full or not self.open:
            await asyncio.sleep(0)  # so that others are served, however fast the engine takes it
            return
        self._drained = asyncio.get_running_loop().create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def pause(self) -> None:
        """Take no more from the engine, which stops it in the end."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take from the engine again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def release(self, idle_s: float | None) -> None:
        """The answer has ended well: another call may be carried, within `idle_s` if given."""
        self._answer = None
        assert self._transport is not None
        if not self.open or self._transport.is_closing() or self._transport.get_write_buffer_size():
            self.abort()
            return
        self.idle_s = idle_s
        self._idle(self)

    def abort(self) -> None:
        """Close at once, whatever is under way; nobody is told but the owner."""
        self._answer = None
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def cut(self) -> None:
        """Close at once; the answer that it carries is told."""
        answer = self._answer
        self.abort()
        self._wake()
        if answer is not None:
            answer.lost()

    def quiet(self) -> bool:
        """Whether nothing waits to be read, as it must be between calls.

        A close that the loop has not come to is news, too.
        """
        assert self._transport is not None
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), _NEWS)
        return not poll.poll(0)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        if self._answer is None:
            self.abort()  # an engine that speaks when it was not asked
        else:
            self._answer.take(data)

    def eof_received(self) -> None:
        """Called by the transport, which closes itself after it."""
        self._leave()
        if self._answer is not None:
            self._answer.closed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport, once."""
        self.cut()

    def pause_writing(self) -> None:
        """Called by the transport: it holds enough."""
        self._full = True

    def resume_writing(self) -> None:
        """Called by the transport: it holds little."""
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _leave(self) -> None:
        if self.open:
            self.open = False
            self._gone(self)
