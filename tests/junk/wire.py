"""The clients that `oracle.client` is too polite to be."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

from oracle.client import ClientRecord, error_code
from oracle.framing import FramingError, MessageReader, chunk_bytes, head_bytes
from oracle.requests import ClientRequest

from junk.case import How

PIECE_BYTES = 32 * 1024
HUGE_BYTES = 1 << 40
SMALL_BUFFER = 4096
LOOK_S = 0.02
WITHIN_S = 20.0


async def send_oddly(url: str, request: ClientRequest, how: How, *, key: str) -> ClientRecord:
    """Send as `how` says and read what comes back; a mute client waits until it is dropped."""
    sock = mute_socket() if how == "mute" else socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    address = urlsplit(url)
    began, reader, body = time.monotonic(), MessageReader(reply=True), bytearray()
    was_dropped = False
    try:
        async with asyncio.timeout(WITHIN_S):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (address.hostname, address.port))
            writing = asyncio.create_task(_write(sock, request, how, key))
            try:
                if how == "mute":
                    await dropped(sock)
                    was_dropped = True
                else:
                    await _read(sock, reader, body)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
    except (TimeoutError, ConnectionError, FramingError):
        pass
    finally:
        sock.close()
    return _record(request, reader, bytes(body), how, began, was_dropped)


def mute_socket() -> socket.socket:
    """A socket that holds little of what is not read."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    sock.setblocking(False)
    return sock


async def _write(sock: socket.socket, request: ClientRequest, how: How, key: str) -> None:
    loop = asyncio.get_running_loop()
    body = request.body
    framing = ("Transfer-Encoding", "chunked") if how == "chunked" else None
    size = HUGE_BYTES if how == "head" else len(body)
    head = [
        ("Host", "gateway"),
        ("Content-Type", request.content_type),
        ("Authorization", f"Bearer {key}"),
        framing or ("Content-Length", str(size)),
        *request.headers,
    ]
    await loop.sock_sendall(sock, head_bytes(f"{request.method} {request.path} HTTP/1.1", head))
    if how == "chunked":
        for at in range(0, len(body), PIECE_BYTES):
            await loop.sock_sendall(sock, chunk_bytes(body[at : at + PIECE_BYTES]))
        await loop.sock_sendall(sock, chunk_bytes(b""))
    elif how != "head":
        await loop.sock_sendall(sock, body[: len(body) // 2] if how == "half" else body)


async def _read(sock: socket.socket, reader: MessageReader, body: bytearray) -> None:
    loop = asyncio.get_running_loop()
    while not reader.complete and (data := await loop.sock_recv(sock, PIECE_BYTES)):
        body += reader.feed(data)


async def dropped(sock: socket.socket) -> None:
    """Wait, without reading, until the peer resets the connection."""
    poll = select.poll()
    poll.register(sock, 0)  # errors and hang-ups are reported unasked
    while not poll.poll(0):  # noqa: ASYNC110  # the loop wakes for bytes, which must stay unread
        await asyncio.sleep(LOOK_S)
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _record(
    request: ClientRequest,
    reader: MessageReader,
    body: bytes,
    how: How,
    began: float,
    dropped: bool,
) -> ClientRecord:
    head = reader.head
    now = time.monotonic()
    return ClientRecord(
        tag=request.tag,
        modality=request.modality,
        ended="cut" if how == "mute" else "error",
        request_id=head.headers.get("x-request-id") if head else None,
        status=head.status if head else None,
        headers=head.headers if head else {},
        error=error_code(body) if head else "no_reply",
        body=body,
        body_bytes=len(body),
        began_at=began,
        left_at=now if dropped else None,
        ended_at=now,
    )
