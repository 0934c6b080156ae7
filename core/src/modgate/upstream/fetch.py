"""Fetching a file from a client's URL without being led to where the client must not reach.

For each hop the URL is read (origins.py), held against what the operator allows, and resolved
(names.py); its addresses are judged (addresses.py), and one of them is connected to, with the name
as Host and SNI.  A redirect is another hop.  No proxy is used, and no cookie, key or header of the
client goes along.  What came is known by its first bytes, and not by its label.  A client is never
told an address, nor whether a name exists that it may not reach.

Source: architecture.md 5 (Fetch), wire.md 3.1, algorithms.md 9, OWASP SSRF prevention cheat sheet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from ssl import SSLContext

import aiohttp
from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from yarl import URL

from modgate.api.body import File
from modgate.api.need import Fetch
from modgate.clock import Clock
from modgate.errors import Overloaded, Refused
from modgate.kit.sniff import HEAD_BYTES, family, media_type, sniff
from modgate.spool import Scope, Writer
from modgate.upstream.addresses import Address, is_forbidden, is_public
from modgate.upstream.names import Pinned, Resolve, Resolver
from modgate.upstream.origins import Allowed, Origin, Url

AT_ONCE = 64
REDIRECTS_AT_MOST = 3
ADDRESSES_AT_MOST = 8  # of one name, that are tried
_CONNECT_S = 3.0  # for one address, so that a dead one leaves time for the others
_TIMEOUT = ClientTimeout(total=None, sock_connect=_CONNECT_S)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "modgate"}
# The same words for a name that does not exist and for one that leads inside, so that nobody can
# find out what is inside.
_UNREACHABLE = "its host has no public address that this gateway can reach"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Codes:
    """The error codes of failures.  Images have their own.  Source: wire.md 1.4."""

    url: str
    download: str
    content: str
    size: str

    @staticmethod
    def of(kinds: frozenset[str]) -> _Codes:
        """The codes for what was asked for."""
        if kinds and all("image" in (kind, family(kind)) for kind in kinds):
            return _Codes(
                "invalid_image_url",
                "failed_to_download_image",
                "invalid_image_format",
                "image_too_large",
            )
        content = "invalid_audio" if kinds == {"audio"} else "invalid_file_format"
        return _Codes("invalid_url", "failed_to_download_file", content, "file_too_large")


class _Failed(Exception):
    """The file could not be downloaded; the message is for the client."""


class Fetcher:
    """Fetches what plans need (`Fetch`).

    `allow`: the entries of `[fetch] allow`; ValueError names one that is wrong.
    `timeout_s`: for one file, with names, redirects and the body.
    `tls`: for tests and private authorities.
    """

    def __init__(
        self,
        allow: Sequence[str],
        clock: Clock,
        *,
        timeout_s: float = 10.0,
        resolver: Resolve | None = None,
        tls: SSLContext | None = None,
    ) -> None:
        self._allowed = Allowed.of(allow)
        self._clock = clock
        self._timeout_s = timeout_s
        self._resolver = Resolver()
        self._resolve = resolver or self._resolver.resolve
        self._tls = tls
        self._places = asyncio.Semaphore(AT_ONCE)

    def close(self) -> None:
        """Stop the resolver's threads."""
        self._resolver.close()

    async def fetch(self, fetch: Fetch, scope: Scope) -> File:
        """Fetch a file into the request's spool.

        Refused, with the client's field, when it cannot be had; Overloaded when too many are being
        fetched or the spool is full.
        """
        codes = _Codes.of(fetch.kinds)
        if self._allowed.nothing:
            reason = "URLs are not fetched here: `[fetch] allow` is empty; send the file itself"
            raise Refused(fetch.field, codes.url, reason)
        began = self._clock.now()
        async with self._place():
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._follow(fetch, codes, scope)
            except _Failed as error:
                reason = str(error)
            except (aiohttp.ClientError, ConnectionError):  # before TimeoutError: some are both
                reason = "the URL's server could not be reached, or broke off"
            except TimeoutError:
                reason = f"the URL did not answer in full within {self._timeout_s:g} seconds"
        took_ms = round(1000 * (self._clock.now() - began))
        log.info("fetch.failed", extra={"reason": reason, "took_ms": took_ms})
        raise Refused(fetch.field, codes.download, reason)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded("too many files are being fetched; try again later") from None
        try:
            yield
        finally:
            self._places.release()

    async def _follow(self, fetch: Fetch, codes: _Codes, scope: Scope) -> File:
        try:
            url = Url.parse(fetch.url)
            self._admit(url.origin)
        except ValueError as error:
            raise Refused(fetch.field, codes.url, str(error)) from None
        for _ in range(REDIRECTS_AT_MOST + 1):
            addresses = await self._judge(url.origin)
            async with (
                self._session(url.origin, addresses) as session,
                session.get(_written(url), allow_redirects=False) as response,
            ):
                if response.status not in _REDIRECTS:
                    return await _Download(fetch, codes, scope).store(response)
                location = response.headers.get("Location", "")
            try:
                url = url.follow(location)
                self._admit(url.origin)
            except ValueError as error:
                raise _Failed(f"a redirect cannot be followed: {error}") from None
        raise _Failed(f"the URL redirects more than {REDIRECTS_AT_MOST} times")

    def _admit(self, origin: Origin) -> None:
        """Raise ValueError unless the operator allows the origin, before its name is resolved."""
        if not self._allowed.admits(origin):
            if self._allowed.https and origin.scheme == "http":
                raise ValueError("the URL must begin with https://")
            if self._allowed.https and not origin.usual:
                raise ValueError("the URL must not name a port")
            raise ValueError("the URL's host is not one that `[fetch] allow` names")
        address = origin.address
        if address is not None and not self._open(origin, address):
            raise ValueError("the URL's host is an address that is not fetched from")

    def _open(self, origin: Origin, address: Address) -> bool:
        named = origin in self._allowed.origins
        return not is_forbidden(address) and (named or is_public(address))

    async def _judge(self, origin: Origin) -> list[Address]:
        """The addresses to connect to.

        When one of them is not allowed, none is: such a name is a trap.
        """
        if origin.address is not None:
            return [origin.address]
        try:
            found = await self._resolve(origin.host, origin.port)
            addresses = [ip_address(text) for text in found]
        except (OSError, ValueError):
            raise _Failed(f"the URL cannot be fetched: {_UNREACHABLE}") from None
        if not addresses or not all(self._open(origin, address) for address in addresses):
            raise _Failed(f"the URL cannot be fetched: {_UNREACHABLE}")
        return addresses[:ADDRESSES_AT_MOST]

    def _session(self, origin: Origin, addresses: Sequence[Address]) -> ClientSession:
        """A session for one hop, so that nothing it keeps serves another one."""
        connector = TCPConnector(
            resolver=Pinned(origin.host, addresses),
            use_dns_cache=False,
            force_close=True,
            ssl=True if self._tls is None else self._tls,
        )
        return ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=_TIMEOUT,
            headers=_HEADERS,
        )


class _Download:
    """One body on its way into the spool."""

    def __init__(self, fetch: Fetch, codes: _Codes, scope: Scope) -> None:
        self._fetch = fetch
        self._codes = codes
        self._scope = scope
        self._head = bytearray()
        self._size = 0
        self._writer: Writer | None = None

    async def store(self, response: ClientResponse) -> File:
        """Read the body into a file; nothing of it stays in the spool when this raises."""
        if response.status != 200:
            raise _Failed(f"the URL answered with status {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Failed("the URL's server sent an encoding that it was not asked for")
        self._count(response.content_length or 0)
        self._size = 0
        try:
            async for chunk in response.content.iter_any():
                self._count(len(chunk))
                self._take(chunk)
            return (self._writer or self._begin()).done()
        except BaseException:
            if self._writer is not None:
                self._scope.drop(self._writer.done())
            raise

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._fetch.at_most:
            reason = f"the URL's file has more than {self._fetch.at_most} bytes"
            raise Refused(self._fetch.field, self._codes.size, reason)

    def _take(self, chunk: bytes) -> None:
        if self._writer is not None:
            _write(self._writer, chunk)
            return
        self._head += chunk
        if len(self._head) >= HEAD_BYTES:
            self._begin()

    def _begin(self) -> Writer:
        """Begin the file, now that it is known what it is.  Refused for a kind not asked for."""
        name = sniff(bytes(self._head[:HEAD_BYTES]))
        kinds = self._fetch.kinds
        if kinds and not kinds & {name, family(name)}:
            wanted = " or ".join(sorted(kinds))
            raise Refused(
                self._fetch.field, self._codes.content, f"the URL's file is not of kind {wanted}"
            )
        self._writer = self._scope.writer(media_type(name))
        _write(self._writer, self._head)
        return self._writer


def _write(writer: Writer, data: bytes | bytearray) -> None:
    try:
        writer.write(data)
    except OSError as error:  # the disk's fault, and not the URL's
        raise Overloaded("the gateway's spool cannot be written to; try again later") from error


def _written(url: Url) -> URL:
    origin = url.origin
    try:
        return URL.build(
            scheme=origin.scheme,
            host=origin.written_host,
            port=origin.port,
            path=url.path,
            query_string=url.query,
            encoded=True,
        )
    except ValueError:
        raise _Failed("the URL is not well formed") from None
