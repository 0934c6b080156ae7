"""Asking engines and exporters for metrics and the like, over connections that are kept."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from modgate.api.secret import Secret
from modgate.tracebacks import reason_of
from modgate.upstream.ca_bundles import CaBundles
from modgate.upstream.documents import whole

AT_MOST = 1 << 20
CONNECTIONS = 128
_HEADERS = {"Accept": "text/plain", "Accept-Encoding": "identity", "User-Agent": "modgate"}


class Scraper:
    """One session for all of them; no redirect is followed, no proxy used, and no cookie kept."""

    def __init__(self, ca_bundles: CaBundles) -> None:
        self._ca_bundles = ca_bundles
        self._session: ClientSession | None = None

    async def get(
        self, url: str, *, key: Secret | None = None, ca: str = "", within_s: float
    ) -> tuple[int, bytes]:
        """GET a status and a body of at most 1 MiB.  OSError when there is no answer in time.

        `key`: is sent as a bearer token.  `ca`: a PEM file of the authorities that count.
        """
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=CONNECTIONS, limit_per_host=2),
                cookie_jar=DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=ClientTimeout(total=None),
                headers=_HEADERS,
            )
        headers = {"Authorization": f"Bearer {key.reveal()}"} if key is not None else {}
        try:
            async with (
                asyncio.timeout(within_s),
                self._session.get(
                    url, headers=headers, ssl=self._ca_bundles.of(ca) or True, allow_redirects=False
                ) as reply,
            ):
                return reply.status, await whole(reply, AT_MOST)
        except (aiohttp.ClientError, ValueError) as error:
            raise OSError(reason_of(error)) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
