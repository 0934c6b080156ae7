"""Getting small documents from places that the operator named.

They are key sets, and what authenticators ask for.  URLs of clients go through `fetch.py` instead.
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
    """The document did not come, or not as it should have; the message says why."""


async def get(url: str, ca: str = "") -> bytes:
    """GET a document's bytes, within five seconds.  NotHad in every other case.

    `ca`: a PEM file of the authorities that may have signed the certificate; '': the machine's.
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
    """Ask, and return the status and the body.

    `wanted`: the only status that will do; 0: any.  NotHad when there is no such reply in time.  No
    redirect is followed, no proxy used, and no cookie kept.
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
    """Ask for an authenticator, and return the reply of whatever status; NotHad without one."""
    status, body = await ask(
        lookup.method, lookup.url, headers=lookup.headers, body=lookup.body, ca=ca
    )
    return Document(status=status, body=body)


async def whole(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    """The body of a reply.  NotHad when it has more than `at_most` bytes."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > at_most:
            raise NotHad(f"more than {at_most} bytes")
    return b"".join(pieces)
