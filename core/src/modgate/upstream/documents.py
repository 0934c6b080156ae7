"""Small documents from places that the operator named: key sets, and what authenticators ask.

Not for URLs of clients: those go through `fetch.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ssl import create_default_context

import aiohttp
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from modgate.api.authenticator import Document, Lookup

TIMEOUT_S = 5.0
AT_MOST = 64 << 10
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "modgate"}


class NotHad(OSError):
    """The document did not come, or not as it should."""


async def get(url: str, ca: str = "") -> bytes:
    """A document's bytes; NotHad in every other case, five seconds at most.

    `ca`: PEM file of the only authorities that the certificate may be of.
    """
    _, body = await ask("GET", url, ca=ca, wanted=200)
    return body


async def ask(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    ca: str = "",
    wanted: int = 0,
) -> tuple[int, bytes]:
    """Status and body; NotHad when there is none, or it is not the status that is wanted.

    No redirect is followed, no proxy used, and no cookie kept.
    """
    try:
        tls = create_default_context(cafile=ca) if ca else True
        connector = TCPConnector(ssl=tls, force_close=True)
        async with (
            asyncio.timeout(TIMEOUT_S),
            ClientSession(
                connector=connector,
                cookie_jar=DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=ClientTimeout(total=None),
                headers=_HEADERS,
            ) as session,
            session.request(
                method, url, data=body or None, headers=headers, allow_redirects=False
            ) as response,
        ):
            if wanted and response.status != wanted:
                raise NotHad(f"status {response.status}")
            return response.status, await whole(response, AT_MOST)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise NotHad(type(error).__name__) from None


async def look_up(lookup: Lookup, *, ca: str = "") -> Document:
    """What a server answers to an authenticator, whatever that is; NotHad when it does not."""
    status, body = await ask(
        lookup.method, lookup.url, headers=lookup.headers, body=lookup.body, ca=ca
    )
    return Document(status=status, body=body)


async def whole(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    """A reply's body; NotHad when it has more bytes."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > at_most:
            raise NotHad(f"more than {at_most} bytes")
    return b"".join(pieces)
