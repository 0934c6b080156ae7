"""The counting client: sends one request, reads the reply or leaves, and tells what it had by then.

A raw socket without a reader of its own: what was not read is still in the kernel, so that after
leaving it can be said what the sockets held.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from oracle.count import Audio, SpeechEvents, count_for
from oracle.framing import FramingError, MessageReader, head_bytes
from oracle.requests import ClientRequest
from oracle.words import MIB, Modality, members

Ended = Literal["ok", "cut", "error"]
READ_BYTES = 64 * 1024
KEPT_BYTES = 64 * 1024
# More than a socket holds; a server that writes on and on does not keep the client from leaving.
HELD_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Where the client leaves.

    `at`: upload = with half of the request body sent; sent = with all sent, whatever has come back;
    head = with the reply's head, before any of its body; body = after `events` pieces of content
    (or after `body_bytes` of the body).  `after_ms`: so much later.  `how`: close the socket, reset
    it, or read nothing for `stall_ms` and then close.
    """

    at: Literal["upload", "sent", "head", "body"]
    after_ms: float = 0
    events: int = 1
    body_bytes: int | None = None
    how: Literal["close", "reset", "stall"] = "close"
    stall_ms: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRecord:
    """What a client had when it ended.

    `units`: what it read.  `held`: what its socket held unread when it left.  `ended`: ok = a whole
    good reply, cut = it left, error = anything else, `error` says what.  `countable`: False for
    compressed audio, whose length is not counted.  `breaks`: joints in PCM.
    Times are `time.monotonic()` in seconds.
    """

    tag: int
    modality: Modality
    ended: Ended
    request_id: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    units: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    events: int = 0
    error: str | None = None
    notes: tuple[str, ...] = ()
    body: bytes = field(default=b"", repr=False)
    body_bytes: int = 0
    countable: bool = True
    breaks: int | None = None
    began_at: float = 0.0
    first_byte_at: float | None = None
    left_at: float | None = None
    ended_at: float = 0.0


# Called after each piece of content with the request's id and how many were read.
OnEvent = Callable[[str, int], None]


async def send(
    url: str,
    request: ClientRequest,
    *,
    key: str | None = None,
    leave: Leave | None = None,
    go: asyncio.Event | None = None,
    on_event: OnEvent | None = None,
    within_s: float = 30.0,
) -> ClientRecord:
    """Send a request to the gateway at `url` and read the reply, or leave as told.

    `go`: with `leave.at` = "sent", leave when it is set instead of after `after_ms`.
    """
    exchange = _Exchange(request, on_event)
    try:
        async with asyncio.timeout(within_s):
            await exchange.open(url)
            await exchange.run(key, leave, go)
    except TimeoutError:
        exchange.error = "client_timeout"
    except (ConnectionError, FramingError) as error:
        exchange.error = type(error).__name__
    finally:
        exchange.close()
    return exchange.result()


class _Exchange:
    """One request and its reply on one connection."""

    def __init__(self, request: ClientRequest, on_event: OnEvent | None) -> None:
        self._request = request
        self._on_event = on_event
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._reader = MessageReader(reply=True)
        self._count = count_for(request)
        self._body = bytearray()
        self._body_bytes = 0
        self._eof = False
        self._told = 0
        self._units: dict[str, int] | None = None
        self._events = 0
        self.error: str | None = None
        self._began_at = time.monotonic()
        self._first_byte_at: float | None = None
        self._left_at: float | None = None

    async def open(self, url: str) -> None:
        """Connect; raise ConnectionError."""
        address = urlsplit(url)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        where = (address.hostname or "127.0.0.1", address.port or 80)
        await asyncio.get_running_loop().sock_connect(self._socket, where)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def run(self, key: str | None, leave: Leave | None, go: asyncio.Event | None) -> None:
        """The exchange, to its end or to the leaving."""
        data = self._bytes(key)
        if leave is not None and leave.at == "upload":
            await self._write(data[: len(data) - len(self._request.body) // 2])
            await self._leave(leave)
            return
        # A server that refuses early may stop to read: the reply is read while the body is sent.
        writing = asyncio.create_task(self._write(data))
        try:
            await self._read(leave, go)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def _bytes(self, key: str | None) -> bytes:
        request = self._request
        headers = [
            ("Host", "gateway"),
            ("Content-Type", request.content_type),
            ("Content-Length", str(len(request.body))),
            *request.headers,
        ]
        if key is not None:
            headers.append(("Authorization", f"Bearer {key}"))
        return head_bytes(f"{request.method} {request.path} HTTP/1.1", headers) + request.body

    async def _write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _read(self, leave: Leave | None, go: asyncio.Event | None) -> None:
        if leave is None or leave.at != "sent":
            while not self._over and not (leave is not None and self._at(leave)):
                await self._take()
        else:
            await self._read_until_told(leave, go)
        if leave is not None and not self._over:
            await self._leave(leave)

    async def _read_until_told(self, leave: Leave, go: asyncio.Event | None) -> None:
        told = asyncio.create_task(
            go.wait() if go is not None else asyncio.sleep(leave.after_ms / 1000)
        )
        reading = asyncio.create_task(self._take_all())
        try:
            await asyncio.wait({told, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            reading.cancel()
            _, error = await asyncio.gather(told, reading, return_exceptions=True)
        if isinstance(error, Exception):
            raise error

    async def _take_all(self) -> None:
        while not self._over:
            await self._take()

    @property
    def _over(self) -> bool:
        return self._reader.complete or self._eof

    def _at(self, leave: Leave) -> bool:
        if leave.at == "head":
            return self._reader.head is not None
        if leave.body_bytes is not None:
            return self._body_bytes >= leave.body_bytes
        return self._count.events >= leave.events

    async def _take(self) -> None:
        """Wait for bytes and read once.  Cancelled while it waits, it has lost none."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._socket, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._socket)
        self._take_now()

    def _take_now(self) -> bool:
        """Read what is there; False when nothing is, and when nothing more will come."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._eof = True
            self._reader.eof()
        self._see(self._reader.feed(data))
        head = self._reader.head
        if self._reader.complete and head is not None and head.status < 300:
            self._count.end()
        return bool(data)

    def _see(self, body: bytes) -> None:
        head = self._reader.head
        if head is None or not body:
            return
        self._first_byte_at = self._first_byte_at or time.monotonic()
        self._body_bytes += len(body)
        self._body += body[: KEPT_BYTES - len(self._body)]
        if head.status >= 300:
            return
        self._count.feed(body)
        while (
            self._on_event is not None and self._told < self._count.events and self._units is None
        ):
            self._told += 1
            self._on_event(head.headers.get("x-request-id", ""), self._told)

    async def _leave(self, leave: Leave) -> None:
        if leave.at != "sent" and leave.after_ms:
            await asyncio.sleep(leave.after_ms / 1000)
        self._units, self._events = dict(self._count.units), self._count.events
        if leave.how == "stall":
            await asyncio.sleep(leave.stall_ms / 1000)
        had = self._body_bytes
        with suppress(ConnectionError, FramingError):
            while self._body_bytes - had < HELD_BYTES and self._take_now():
                pass
        self._left_at = time.monotonic()
        if leave.how == "reset":
            linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    # --- what came of it

    def result(self) -> ClientRecord:
        """The record, once the exchange is over."""
        head, count = self._reader.head, self._count
        units = count.units if self._units is None else self._units
        ended, error = self._ended()
        countable, breaks = self._request.reader != "opaque", None
        if isinstance(count, Audio | SpeechEvents) and countable and ended == "ok":
            breaks = count.breaks
        return ClientRecord(
            tag=self._request.tag,
            modality=self._request.modality,
            ended=ended,
            request_id=head.headers.get("x-request-id") if head else None,
            status=head.status if head else None,
            headers=head.headers if head else {},
            units=dict(units),
            held={unit: had - units.get(unit, 0) for unit, had in count.units.items()},
            events=count.events if self._units is None else self._events,
            error=error,
            notes=tuple(count.notes),
            body=bytes(self._body),
            body_bytes=self._body_bytes,
            countable=countable,
            breaks=breaks,
            began_at=self._began_at,
            first_byte_at=self._first_byte_at,
            left_at=self._left_at,
            ended_at=time.monotonic(),
        )

    def _ended(self) -> tuple[Ended, str | None]:
        head = self._reader.head
        if self._left_at is not None:
            return "cut", None
        if self.error is not None or head is None:
            return "error", self.error or "no_reply"
        if head.status >= 300:
            return "error", error_code(bytes(self._body)) or f"status_{head.status}"
        if not self._reader.complete:
            return "error", "broken_body"
        if self._count.error is not None:
            return "error", self._count.error
        return ("ok", None) if self._count.finished else ("error", "unfinished")


def error_code(body: bytes) -> str | None:
    """The code in an error body of any surface, or None where it has none."""
    try:
        value = members(json.loads(body))
    except ValueError:
        return None
    code = members(value.get("error")).get("code", value.get("code"))
    return code if isinstance(code, str) else None
