"""One connection to an engine: it passes bytes to the answer that it carries, and its end."""

from __future__ import annotations

import asyncio
import select
import socket
import time
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
LONG_S = 0.005  # to read what came at once: most takes microseconds, a thousand chunks a few ms
_NEWS = select.POLLIN | select.POLLERR | select.POLLHUP


@runtime_checkable
class _Wire(Protocol):
    """What we use of a transport.  uvloop's transports are no `asyncio.Transport`."""

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def get_extra_info(self, name: str) -> socket.socket: ...


class Connection(asyncio.Protocol):
    """A connection that carries one call at a time.

    `idle`: is called with it when it can carry another call.  `gone`: is called with it, once, when
    it never will again.
    `idle_s`: how long the engine keeps it without a call, when the engine said so.
    `open`: whether it can be written to.
    """

    __slots__ = (
        "_answer",
        "_drained",
        "_full",
        "_gone",
        "_idle",
        "_paused",
        "_rests",
        "_transport",
        "idle_s",
        "open",
    )

    def __init__(
        self, idle: Callable[[Connection], None], gone: Callable[[Connection], None]
    ) -> None:
        self._idle = idle
        self._gone = gone
        self._answer: Answer | None = None
        self._transport: _Wire | None = None
        self._full = False
        self._paused = False
        self._rests = False
        self._drained: asyncio.Future[None] | None = None
        self.idle_s: float | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport: switch on the kernel's probes."""
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
        """From now on give to this answer what comes."""
        self._answer = answer

    def write(self, *pieces: bytes) -> None:
        """Send; what the engine does not take yet is held in memory."""
        assert self._transport is not None
        if self.open:
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    async def drained(self) -> None:
        """Wait until the engine has taken enough of what was written; only one may wait."""
        if not self._full or not self.open:
            await asyncio.sleep(0)  # so that others are served, however fast the engine takes it
            return
        self._drained = asyncio.get_running_loop().create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def pause(self) -> None:
        """Read no more from the engine; once the kernel's buffers are full, it stops sending."""
        self._paused = True
        if self._transport is not None and not self._rests:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read from the engine again."""
        self._paused = False
        if self._transport is not None and not self._rests:
            self._transport.resume_reading()

    def release(self, idle_s: float | None) -> None:
        """The answer has ended well, and another call can be carried.

        `idle_s`: how long the engine will keep the connection, when it said so.
        """
        self._answer = None
        assert self._transport is not None
        if not self.open or self._transport.is_closing() or self._transport.get_write_buffer_size():
            self.abort()
            return
        self.idle_s = idle_s
        self._idle(self)

    def abort(self) -> None:
        """Close at once, whatever is under way; only the pool is told."""
        self._answer = None
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def cut(self) -> None:
        """Close at once, and tell the answer that it carries."""
        answer = self._answer
        self.abort()
        self._wake()
        if answer is not None:
            answer.lost()

    def quiet(self) -> bool:
        """Whether nothing waits to be read, as it must be between calls.

        A close by the engine that the event loop has not noticed yet counts as something.
        """
        assert self._transport is not None
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), _NEWS)
        return not poll.poll(0)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        if self._answer is None:
            self.abort()  # an engine that speaks when it was not asked
            return
        began = time.monotonic()
        self._answer.take(data)
        if time.monotonic() - began > LONG_S:
            self._rest()

    def _rest(self) -> None:
        """Let others have a turn: as long as something comes, uvloop reads 32 times in a row."""
        if self._transport is None or self._paused or self._rests or not self.open:
            return
        self._rests = True
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._rests = False
        if self._transport is not None and self.open and not self._paused:
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """Called by the transport, which closes itself afterwards."""
        self._leave()
        if self._answer is not None:
            self._answer.closed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport, once."""
        self.cut()

    def pause_writing(self) -> None:
        """Called by the transport when it holds a lot of what was written."""
        self._full = True

    def resume_writing(self) -> None:
        """Called by the transport when it holds little again."""
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _leave(self) -> None:
        if self.open:
            self.open = False
            self._gone(self)
