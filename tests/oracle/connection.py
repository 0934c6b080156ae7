"""One connection to the scripted engine, down to the socket.

Raw asyncio, so that it can misbehave at any byte, and so that it knows of the peer's leaving while
it waits or writes: `Record.gone_at` is when the kernel said so, not when some write failed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from oracle import asked
from oracle.framing import FramingError, MessageReader
from oracle.perform import Ending
from oracle.record import Record, parse

if TYPE_CHECKING:
    from oracle.engine import ScriptedEngine


class Connection(asyncio.Protocol):
    """One connection from the gateway: reads requests and knows at once when the peer has left."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine
        self._transport: asyncio.Transport | None = None
        self._reader = MessageReader(reply=False)
        self._body = bytearray()
        self._record: Record | None = None
        self._answering: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._broken = False

    # --- events of the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream's transport can write; uvloop's is one without being a subclass.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writable.set()
        self._engine.joined(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._body += self._reader.feed(data)
        except FramingError:
            self.end("reset")
            return
        if self._record is None and self._reader.head is not None:
            self._record = self._engine.open_record(self._reader.head)
        if self._record is not None:
            self._record.body_bytes = len(self._body)
            if self._reader.complete and self._answering is None:
                self._answer(self._record)

    def eof_received(self) -> bool:
        self._gone()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._gone()
        self._writable.set()
        self._engine.left(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _gone(self) -> None:
        """The peer left: note when, and stop working for it."""
        now, record = time.monotonic(), self._record
        if record is not None and not self._broken and record.gone_at is None:
            record.gone_at = now
            record.ended_at = record.ended_at or now
        self._broken = True
        if self._answering is not None:
            self._answering.cancel()
        self._engine.changed()

    # --- one request

    def _answer(self, record: Record) -> None:
        head, body = self._reader.head, bytes(self._body)
        assert head is not None
        record.whole, record.asked = True, parse(head, body)
        record.arrived_at = time.monotonic()
        asked.understand(record)
        self._answering = self._engine.spawn(self._work(record))

    async def _work(self, record: Record) -> None:
        again = False
        try:
            again = await self._engine.answer(record, self)
        except ConnectionError:
            self._gone()
        finally:
            self._record = self._answering = None
            if not again or record.headers.get("connection", "").lower() == "close":
                self.end("close")
        surplus, self._reader = self._reader.surplus, MessageReader(reply=False)
        self._body.clear()
        if surplus and not self._broken:
            self.data_received(surplus)

    # --- what a performance asks of its wire

    async def write(self, data: bytes) -> None:
        """Write and wait until the kernel has it."""
        if self._broken or self._transport is None:
            raise ConnectionResetError("the peer is gone")
        self._transport.write(data)
        # A writer that the kernel never stops must still let the loop see the peer leave.
        await asyncio.sleep(0)
        await self._writable.wait()
        if self._broken:
            raise ConnectionResetError("the peer is gone")

    def end(self, ending: Ending) -> None:
        """Break the connection; `kill` takes the engine with it."""
        if ending == "kill":
            self._engine.kill()
        if self._transport is None or self._transport.is_closing():
            return
        self._broken = True
        if ending == "close":
            self._transport.close()
            return
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self._transport.abort()

    def killed(self) -> None:
        """The engine dies, and this connection with it."""
        record = self._record
        if record is not None and record.ended_at is None and not self._broken:
            record.broken_by, record.ended_at = "kill", time.monotonic()
        self.end("reset")
        if self._answering is not None and self._answering is not asyncio.current_task():
            self._answering.cancel()
