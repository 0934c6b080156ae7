"""Reading a request as it arrives: what is known before its body, and the body within its cap."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal, TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError, HttpVersion11
from aiohttp.web_exceptions import HTTPException

from modgate.api.body import Body, Part
from modgate.errors import BodyTimedOut, GatewayError, Refused, TooLarge, UnsupportedMedia
from modgate.spool import Scope

PARTS_AT_MOST = 128
# Lines of a form: its boundaries, and what nobody reads before the first.
LINES_AT_MOST = 100 * PARTS_AT_MOST
TEXT_AT_MOST = 1 << 20
READ_BYTES = 1 << 16
HOPS_AT_MOST = 32  # of X-Forwarded-For, from its end; a client may write thousands into it
_HOP = re.compile(r"\[([^\[\]]*)\](?::[0-9]+)?|([^:]*):[0-9]+")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# After a grace, a body must keep this pace in bytes per second: one that only drips would hold its
# place for as long as it likes.  Source: algorithms.md 9.
GRACE_S, LEAST_BYTES_S = 5.0, 1024

UNREADABLE_FORM = (
    "the form could not be parsed: its parts begin and end with the boundary that the content type "
    "names; leave the content type to the library that writes the form"
)

Networks = tuple[str, ...]
Hold = Callable[[Literal["body_bytes"], int], None]
T = TypeVar("T")


def client_address(request: web.BaseRequest, trusted: Networks) -> str:
    """The client's address: the last hop of X-Forwarded-For that is not a trusted proxy.

    `trusted`: networks of proxies, as `10.0.0.0/8`; unless the peer is in one, it is the client.
    """
    peer = request.remote or ""
    if not trusted or not _within(peer, trusted):
        return peer
    lines = request.headers.getall("x-forwarded-for", ())  # some proxies add a line of their own
    hops = ",".join(lines).rsplit(",", HOPS_AT_MOST)[-HOPS_AT_MOST:]
    for hop in reversed(hops):
        said = _without_port(hop.strip())
        if said and not _within(said, trusted):
            return said
    return peer


def _without_port(hop: str) -> str:
    """A hop's address: some proxies name the port with it, and then an IPv6 one has brackets."""
    found = _HOP.fullmatch(hop)
    return (found[1] or found[2]) if found is not None else hop


def _within(address: str, networks: Networks) -> bool:
    try:
        said = ip_address(address)
    except ValueError:
        return False
    # Of an IPv4 peer, a server that listens for both kinds says `::ffff:10.0.0.1`.
    mapped = said.ipv4_mapped if isinstance(said, IPv6Address) else None
    known = [ip_network(network) for network in networks]
    return any(said in each or (mapped is not None and mapped in each) for each in known)


def waits_for_continue(request: web.BaseRequest) -> bool:
    """Whether the client holds its body back until it is told to continue.

    Source: RFC 9110 section 10.1.1.
    """
    said = request.headers.get("expect")
    return said is not None and said.lower() == "100-continue" and request.version >= HttpVersion11


class Ingress:
    """Reads one request's body.

    `hold`: is told of each piece that is kept in memory, and may raise to refuse it.
    `idle_s`: how long the body may pause; besides, it must keep a pace (`LEAST_BYTES_S`).
    `bytes_in`: how many bytes of it have arrived; of a form until its end, those in its parts.
    """

    __slots__ = ("_hold", "_idle_s", "_now", "_request", "_since_bytes", "_since_s", "bytes_in")

    def __init__(
        self, request: web.BaseRequest, now: Callable[[], float], *, idle_s: float, hold: Hold
    ) -> None:
        """`now`: the event loop's time, in seconds."""
        self._request = request
        self._now = now
        self._idle_s = idle_s
        self._hold = hold
        self._since_s, self._since_bytes = now(), 0
        self.bytes_in = 0

    def check_head(self, kind: str, at_most: int) -> None:
        """Refuse what can be refused by the headers alone.

        UnsupportedMedia for an encoding, or a type that is not of `kind` (`json`, `form`); TooLarge
        for a declared length over `at_most` bytes.
        """
        headers = self._request.headers
        if headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMedia("send the body without content-encoding")
        declared = self._request.content_type.lower()
        if kind == "json" and declared != "application/json" and "content-type" in headers:
            raise UnsupportedMedia("the content type must be application/json")
        if kind == "form" and declared != "multipart/form-data":
            reason = (
                "the content type must be multipart/form-data, with the file itself in the form"
            )
            raise UnsupportedMedia(reason)
        length = self._request.content_length
        if length is not None and length > at_most:
            raise too_large(at_most)

    async def body(self, kind: str, at_most: int, scope: Scope) -> Body:
        """Read the body: JSON as bytes in memory, a form with its files in the spool.

        Besides what `check_head` raises: BodyTimedOut when it pauses or drips, Refused when it
        breaks off or is no such form, TooLarge over `at_most` bytes, and whatever `hold` raises.
        """
        self.check_head(kind, at_most)
        if waits_for_continue(self._request) and (transport := self._request.transport) is not None:
            transport.write(CONTINUE)
        try:
            if kind == "form":
                return Body.form([part async for part in self._parts(at_most, scope)])
            return Body.json(await self._whole(at_most))
        except TimeoutError:
            raise BodyTimedOut("the request body stalled") from None
        except (ConnectionError, web.RequestPayloadError, HTTPException) as error:
            raise Refused(None, "invalid_body", "the request body is incomplete") from error

    async def _whole(self, at_most: int) -> bytes:
        content, whole = self._request.content, bytearray()  # pieces of a byte would weigh fifty
        while not content.at_eof():
            piece = content.read_nowait() or await self._waited(content.readany())
            self._count(len(piece), at_most)
            self._hold("body_bytes", len(piece))
            if content.at_eof() and not whole:
                return piece
            whole += piece
        return bytes(whole)

    async def _parts(self, at_most: int, scope: Scope) -> AsyncIterator[Part]:
        try:
            reader = _Form(self._request.headers, self._request.content)
            count = 0
            while (part := await self._waited(reader.next())) is not None:
                count += 1
                if count > PARTS_AT_MOST:
                    raise Refused(None, "invalid_body", f"more than {PARTS_AT_MOST} form parts")
                if not isinstance(part, BodyPartReader) or not part.name:
                    cut = self._request.content.at_eof()  # inside the head of this part
                    reason = UNREADABLE_FORM if cut else "every form part needs a name"
                    raise Refused(None, "invalid_body", reason)
                yield await self._part(part, at_most, scope)
            content = self._request.content
            while not content.at_eof():  # what may stand behind the last boundary
                piece = content.read_nowait() or await self._waited(content.readany())
                self._count(len(piece), at_most)
            self.bytes_in = content.total_bytes  # of boundaries and heads of parts, too
        except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
            raise Refused(None, "invalid_body", UNREADABLE_FORM) from error

    async def _part(self, part: BodyPartReader, at_most: int, scope: Scope) -> Part:
        name, kind = part.name or "", part.headers.get("content-type")
        if part.headers.get("content-transfer-encoding", "binary").lower() not in (
            "binary",
            "8bit",
            "7bit",
        ):
            raise UnsupportedMedia("send form parts without content-transfer-encoding")
        if part.filename is None:
            text = bytearray()
            async for piece in self._pieces(part, at_most):
                text += piece
                if len(text) > TEXT_AT_MOST:
                    raise TooLarge(f"the form field '{name}' has more than {TEXT_AT_MOST} bytes")
                self._hold("body_bytes", len(piece))
            return Part(name=name, content=bytes(text))
        writer = scope.writer(kind or "application/octet-stream")
        async for piece in self._pieces(part, at_most):
            writer.write(piece)
        content = writer.done().slice()
        return Part(name=name, content=content, filename=part.filename or "file", content_type=kind)

    async def _pieces(self, part: BodyPartReader, at_most: int) -> AsyncIterator[bytes]:
        while piece := await self._waited(part.read_chunk(READ_BYTES)):
            self._count(len(piece), at_most)
            yield piece

    def _count(self, size: int, at_most: int) -> None:
        self.bytes_in += size
        if self.bytes_in > at_most:
            raise too_large(at_most)

    async def _waited(self, waiting: Awaitable[T]) -> T:
        async with asyncio.timeout(self._idle_s):
            given = await waiting
        self._check_pace()
        return given

    def _check_pace(self) -> None:
        """BodyTimedOut when too little came lately.

        The pace is measured anew after two graces, so that a fast start is not credited for ever.
        """
        now, came = self._now(), self._request.content.total_bytes
        spent_s = now - self._since_s
        if came - self._since_bytes < (spent_s - GRACE_S) * LEAST_BYTES_S:
            raise BodyTimedOut(f"the request body came with less than {LEAST_BYTES_S} bytes/s")
        if spent_s >= 2 * GRACE_S:
            self._since_s, self._since_bytes = now, came


class _Form(MultipartReader):
    """A form that has so many lines at most beside its parts and their heads; else ValueError.

    A line that is there already is read without a wait.  Of a body that is nothing but ends of
    lines, there would be millions, and other requests had no turn.
    """

    _lines_left = LINES_AT_MOST

    async def _readline(self) -> bytes:
        self._lines_left -= 1
        if self._lines_left < 0:
            raise ValueError(f"a form has more than {LINES_AT_MOST} lines beside its parts")
        return await super()._readline()


def too_large(at_most: int) -> GatewayError:
    """The error for a body over the cap, in the words that OpenAI uses."""
    return TooLarge(f"Maximum content size limit ({at_most}) exceeded")
