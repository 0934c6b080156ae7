"""Sending a call to one engine and reading its reply as it comes.

The client is aiohttp's, behind `Client` and `Answer`, so that a faster one can take its place.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from ssl import SSLContext

import aiohttp
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, UnixConnector
from yarl import URL

from modgate.api.body import Body, Content
from modgate.errors import BadReply, UpstreamFailed, UpstreamTimedOut

READ_BYTES = 1 << 16
IDLE_CONNECTION_S = 55.0
_NO_TIMEOUT = ClientTimeout(total=None)
_NO_DEFAULTS = frozenset({"User-Agent", "Accept-Encoding", "Content-Type"})


class Answer:
    """An engine's reply whose head has come.

    `read()` gives what the network gave; b"" at the end.
    """

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """The next bytes, b"" at a clean end; UpstreamFailed when the engine cut it short."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise UpstreamFailed(
                "the engine closed the connection before its reply ended"
            ) from error

    async def whole(self, at_most: int) -> bytes:
        """The whole body; BadReply over `at_most` bytes."""
        pieces, size = [], 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > at_most:
                raise BadReply(f"the engine's reply has more than {at_most} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> None:
        """Done: the connection may be used again."""
        self._response.release()

    def close(self) -> None:
        """Not done: close the connection at once, which tells the engine to stop."""
        self._response.close()


class Client:
    """The connections to one engine; kept across reloads by the engine's identity."""

    def __init__(
        self, url: str, *, socket: str = "", connect_s: float = 5.0, tls: SSLContext | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._socket = socket
        self._connect_s = connect_s
        self._tls = tls
        self._session: ClientSession | None = None

    def _opened(self) -> ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self._socket:
                connector = UnixConnector(
                    path=self._socket, limit=0, keepalive_timeout=IDLE_CONNECTION_S
                )
            else:
                connector = TCPConnector(
                    limit=0,
                    keepalive_timeout=IDLE_CONNECTION_S,
                    happy_eyeballs_delay=None,
                    ssl=self._tls if self._tls is not None else True,
                )
            self._session = ClientSession(
                connector=connector,
                cookie_jar=DummyCookieJar(),
                timeout=ClientTimeout(total=None, sock_connect=self._connect_s),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=READ_BYTES,
                skip_auto_headers=_NO_DEFAULTS,
            )
        return self._session

    async def send(self, path: str, body: Body, headers: Mapping[str, str]) -> Answer:
        """POST a body; UpstreamFailed when it cannot be sent or no head comes back."""
        kind, size, data = framed(body)
        sent = {**headers, "Content-Type": kind, "Content-Length": str(size)}
        url = URL(self._url + path, encoded=True)
        try:
            response = await self._opened().post(
                url, data=data, headers=sent, allow_redirects=False
            )
        except aiohttp.ServerTimeoutError as error:
            raise UpstreamTimedOut("no connection to the engine within the deadline") from error
        except (aiohttp.ClientConnectorError, aiohttp.ClientOSError) as error:
            raise UpstreamFailed("no connection to the engine") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise UpstreamFailed("the engine closed the connection without a reply") from error
        return Answer(response)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def framed(body: Body) -> tuple[str, int, bytes | AsyncIterator[bytes]]:
    """A body's content type, its length, and its bytes.

    At once when small, else streamed from the spool.
    """
    if body.kind != "form":
        content = body.content
        if isinstance(content, bytes):
            return body.content_type, len(content), content
        return body.content_type, content.size, _streamed([content])
    boundary = os.urandom(16).hex()
    pieces: list[Content] = []
    for part in body.parts:
        pieces += [
            _part_head(boundary, part.name, part.filename, part.content_type),
            part.content,
            b"\r\n",
        ]
    pieces.append(f"--{boundary}--\r\n".encode())
    size = sum(len(p) if isinstance(p, bytes) else p.size for p in pieces)
    return f"multipart/form-data; boundary={boundary}", size, _streamed(pieces)


def _part_head(boundary: str, name: str, filename: str | None, content_type: str | None) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        head += f'; filename="{_quoted(filename)}"'
        head += f"\r\nContent-Type: {content_type or 'application/octet-stream'}"
    return (head + "\r\n\r\n").encode()


def _quoted(text: str) -> str:
    return text.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


async def _streamed(pieces: list[Content]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        if piece.prefix:
            yield piece.prefix
        at, end = piece.start, piece.start + piece.length
        while at < end:
            data = piece.file.read(at, min(READ_BYTES, end - at))
            if not data:
                raise UpstreamFailed("a spool file is shorter than its slice")
            at += len(data)
            yield data
