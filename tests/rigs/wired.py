"""Engines that say byte for byte what a test wants, and remember what they were sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from modgate.api.body import Body
from modgate.errors import GatewayError
from modgate.upstream.client import Answer, Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = Body.json(b'{"a":1}')
PATH = "/v1/x"

Talk = Callable[["Line"], Awaitable[None]]
Start = Callable[..., Awaitable["Wired"]]


@dataclass(slots=True, eq=False)
class Line:
    """One connection at the engine.  `left`: the gateway has closed it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def call(self) -> tuple[bytes, bytes]:
        """The next call's head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        at = head.lower().find(b"content-length: ")
        size = int(head[at + 16 : head.find(b"\r", at)])
        return head, await self.reader.readexactly(size)

    async def say(self, *pieces: bytes, every_s: float = 0.0) -> None:
        """Send pieces, each in a segment of its own if there is time between them."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if every_s:
                await asyncio.sleep(every_s)

    async def left(self) -> None:
        """Until the gateway has closed the connection."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except ConnectionError:
            pass


@dataclass(slots=True, eq=False)
class Wired:
    """A server of one `talk`, which is had with every connection."""

    talk: Talk
    url: str = ""
    lines: list[Line] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, *, tls: ssl.SSLContext | None = None, path: str = "") -> None:
        """Listen on loopback, or at a Unix socket."""
        if path:
            self._server = await asyncio.start_unix_server(self._come, path)
            self.url = "http://engine.local"
            return
        self._server = await asyncio.start_server(self._come, "127.0.0.1", 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"

    async def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer, len(self.lines))
        self.lines.append(line)
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            await self.talk(line)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._talks.discard(task)
            writer.transport.abort()

    async def stop(self) -> None:
        """End all talks."""
        if self._server is not None:
            self._server.close()
        for task in list(self._talks):
            task.cancel()
        await asyncio.sleep(0)


def saying(*pieces: bytes, close: bool = False) -> Talk:
    """An engine that answers each call so."""

    async def talk(line: Line) -> None:
        while True:
            await line.call()
            await line.say(*pieces)
            if close:
                return

    return talk


async def said(client: Client) -> bytes:
    answer = await client.send(PATH, BODY, {})
    return await answer.whole(1 << 20)


async def rest(answer: Answer) -> tuple[bytes, GatewayError | None]:
    """All that is read until the end, and what ended it."""
    found = []
    try:
        while data := await answer.read():
            found.append(data)
    except GatewayError as error:
        return b"".join(found), error
    return b"".join(found), None
