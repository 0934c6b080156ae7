"""Pages that need no request of ours: who reads nothing of one is cut, who reads slowly is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiohttp import web

from modgate.http import connection
from modgate.http.connection import Server, framing_refusal

PAGE_BYTES, SMALL = 1 << 20, 1 << 14
UNREAD_S, PATIENCE_S = 0.2, 30.0


@asynccontextmanager
async def asked() -> AsyncIterator[asyncio.StreamReader]:
    """A client that asked for a page; little of it fits between the two."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        return web.Response(body=bytes(PAGE_BYTES))

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server(handler, framing_refusal(str)), "127.0.0.1", 0)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    sock.setblocking(False)
    await loop.sock_connect(sock, server.sockets[0].getsockname())
    reader, writer = await asyncio.open_connection(sock=sock, limit=SMALL)
    writer.write(b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")
    try:
        await reader.readuntil(b"\r\n\r\n")
        yield reader
    finally:
        writer.transport.abort()
        server.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", UNREAD_S)


LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


@LOOPS
def test_who_reads_slowly_gets_the_whole_page(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def slowly() -> int:
        read = 0
        async with asyncio.timeout(PATIENCE_S), asked() as reader:
            while read < PAGE_BYTES:
                read += len(await reader.read(SMALL))
                await asyncio.sleep(UNREAD_S / 20)
        return read

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(slowly()) == PAGE_BYTES


@LOOPS
def test_who_reads_nothing_is_cut(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def never() -> None:
        async with asyncio.timeout(PATIENCE_S), asked() as reader:
            await asyncio.sleep(10 * UNREAD_S)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(PAGE_BYTES)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(never())
