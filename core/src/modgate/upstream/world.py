"""Doing what discoverers ask for: documents, streams of lines, files and names."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from stat import S_ISREG
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from modgate.api.authenticator import Document
from modgate.api.discover import Away, Get, Line, Names, Read, Resolve, Watch
from modgate.upstream.documents import whole
from modgate.upstream.names import Resolver
from modgate.upstream.srv import services

TOKEN_AT_MOST = 64 << 10
RESOLVE_S = 5.0
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "modgate"}


class World:
    """Asks the real world.  Every wait has a deadline, and every failure is raised as Away."""

    def __init__(self) -> None:
        self._resolver: Resolver | None = None

    async def read(self, want: Read) -> Document:
        """A file's bytes, read in a thread."""
        try:
            return Document(
                status=200, body=await asyncio.to_thread(_read, want.path, want.at_most)
            )
        except OSError as error:
            raise Away(f"{want.path} cannot be read: {error.strerror or error}") from None

    async def get(self, want: Get) -> Document:
        """GET a document, of whatever status."""
        try:
            async with asyncio.timeout(want.within_s), _replying(want) as reply:
                return Document(status=reply.status, body=await whole(reply, want.at_most))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Away(_told(want, error)) from None

    async def watch(self, want: Watch) -> tuple[Document | Line, AsyncIterator[bytes]]:
        """GET a reply of endless lines: a first `Line` and the lines that come.

        A reply of another status than 200 is a Document without lines.  Closing the iterator closes
        the connection.
        """
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(asyncio.timeout(want.within_s))
                reply = await stack.enter_async_context(_replying(want))
                if reply.status != 200:
                    found = Document(status=reply.status, body=await whole(reply, want.at_most))
                    return found, _none()
                return Line(), _lines(want, reply, stack.pop_all())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Away(_told(want, error)) from None

    async def resolve(self, want: Resolve) -> Names:
        """The addresses, or SRV targets, that a name has now."""
        try:
            if want.kind == "srv":
                return await services(want.name)
            if self._resolver is None:
                self._resolver = Resolver()
            async with asyncio.timeout(RESOLVE_S):
                return Names(addresses=await self._resolver.resolve(want.name, 0))
        except (OSError, ValueError) as error:
            raise Away(f"{want.name} cannot be resolved: {type(error).__name__}") from None

    def close(self) -> None:
        """Stop resolving names."""
        if self._resolver is not None:
            self._resolver.close()


@asynccontextmanager
async def _replying(want: Get) -> AsyncIterator[ClientResponse]:
    """A reply whose head has come.  No redirect is followed, no proxy used, no cookie kept."""
    headers, tls = await asyncio.to_thread(_credentials, want)
    timeout = ClientTimeout(total=None, sock_connect=min(10.0, want.within_s))
    async with (
        ClientSession(
            connector=TCPConnector(ssl=tls, force_close=True),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=timeout,
            headers={**_HEADERS, **headers},
        ) as session,
        session.get(want.url, allow_redirects=False) as reply,
    ):
        yield reply


def _credentials(want: Get) -> tuple[Mapping[str, str], ssl.SSLContext | bool]:
    """The header with the token, and the TLS context, as their files are now.

    Both files are rotated while the gateway runs.
    """
    secure = want.url.startswith("https:")
    tls = ssl.create_default_context(cafile=want.ca) if want.ca is not None and secure else True
    if want.token is None:
        return {}, tls
    token = _read(want.token, TOKEN_AT_MOST).decode("ascii").strip()
    return {"Authorization": f"Bearer {token}"}, tls


def _read(path: Path, at_most: int) -> bytes:
    """A file's bytes.  OSError for more than `at_most`, and for what is no regular file.

    A pipe or a device would hold the thread, and the end of the program, for ever.
    """
    with open(path, "rb", opener=_at_once) as file:
        if not S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is no regular file")
        text = file.read(at_most + 1)
    if len(text) > at_most:
        raise OSError(f"more than {at_most} bytes")
    return text


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


async def _lines(want: Watch, reply: ClientResponse, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    rest = b""
    try:
        async with stack:
            async for piece in reply.content.iter_any():
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield line
                if len(rest) > want.line_at_most:
                    raise OSError(f"a line of more than {want.line_at_most} bytes")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Away(_told(want, error)) from None


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""


def _told(want: Get, error: Exception) -> str:
    """What failed, in words that repeat nothing of what was sent or came."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"{error.filename} cannot be read: {error.strerror}"
    host = urlsplit(want.url).netloc.rpartition("@")[2] or "a url without a host"
    return f"{host} cannot be asked: {type(error).__name__}"
