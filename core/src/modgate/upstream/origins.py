"""Reading a client's URL: what is checked here is what is connected to.

There is one strict reader, and no second one that could understand the same text differently.  What
is odd is refused, and not repaired.

Source: wire.md 3.1; algorithms.md 9; the host rules of WHATWG URL (a host whose last label is a
number is an IPv4 address).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

import idna

from modgate.upstream.addresses import Address

URL_CHARACTERS = 8000  # a request line longer than that is refused by most servers
HOST_CHARACTERS = 253
Scheme = Literal["http", "https"]
_DEFAULT_PORTS: Mapping[str, int] = MappingProxyType({"https": 443, "http": 80})
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_AUTHORITY = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]{0,5}))?")
_ODD = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a URL leads.  `host`: canonical, without brackets, and without a dot at the end."""

    scheme: Scheme
    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The host as an address; None when it is a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def written_host(self) -> str:
        """The host as it stands in a URL: an IPv6 address has brackets there."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def usual(self) -> bool:
        """Whether the port is the scheme's default."""
        return self.port == _DEFAULT_PORTS[self.scheme]


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that can be asked for.  `path`, `query`: percent-encoded; a fragment is dropped."""

    origin: Origin
    path: str
    query: str

    @staticmethod
    def parse(text: str) -> Url:
        """Read a URL; ValueError says what is wrong, without repeating the URL."""
        if len(text) > URL_CHARACTERS:
            raise ValueError(f"the URL has more than {URL_CHARACTERS} characters")
        if _ODD.search(text):
            raise ValueError("the URL has a space, a control character or a backslash in it")
        try:
            parts = urlsplit(text)
        except ValueError:
            raise ValueError("the URL is not well formed") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError("the URL must begin with https://")
        if "@" in parts.netloc:
            raise ValueError("the URL must not name a user or a password")
        origin = _origin("https" if parts.scheme == "https" else "http", parts.netloc)
        return Url(origin, _encoded(parts.path) or "/", _encoded(parts.query))

    def follow(self, location: str) -> Url:
        """Where a redirect leads; ValueError as of `parse`."""
        try:
            return Url.parse(urljoin(str(self), location))
        except ValueError:
            raise ValueError("the URL redirects to one that is not well formed") from None

    def __str__(self) -> str:
        origin, query = self.origin, f"?{self.query}" if self.query else ""
        return f"{origin.scheme}://{origin.written_host}:{origin.port}{self.path}{query}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator allows to be fetched: `[fetch] allow`.

    `https`, `http`: any public address, on the scheme's default port.  `origins`: these, also when
    their addresses are private.
    """

    https: bool
    http: bool
    origins: frozenset[Origin]

    @staticmethod
    def of(entries: Iterable[str]) -> Allowed:
        """Read entries: `*` is https anywhere, `http://*` is http anywhere, others are origins.

        ValueError names the entry that is none of these.
        """
        entries = list(entries)
        named = [_named(entry) for entry in entries if entry not in ("*", "http://*")]
        return Allowed("*" in entries, "http://*" in entries, frozenset(named))

    @property
    def nothing(self) -> bool:
        """Whether fetching is off."""
        return not (self.https or self.http or self.origins)

    def admits(self, origin: Origin) -> bool:
        """Whether an origin may be asked, provided that its addresses are allowed, too."""
        if origin in self.origins:
            return True
        return origin.usual and (self.https if origin.scheme == "https" else self.http)


def _origin(scheme: Scheme, authority: str) -> Origin:
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise ValueError("the URL is not well formed")
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    if not 0 < port < 1 << 16:
        raise ValueError("the URL's port is not one")
    host = canonical_host(found["name"]) if found["six"] is None else _six(found["six"])
    return Origin(scheme, host, port)


def _six(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError("a zone")
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError("the URL's host is not an address") from None


def canonical_host(host: str) -> str:
    """A name or IPv4 address, in the form in which it is compared and connected to.

    ValueError for what no resolver should be asked.  Every spelling of an IPv4 address but four
    decimal numbers is refused: to some reader `127.1`, `0x7f000001`, `017700000001` and
    `2130706433` are all the same machine.
    """
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except UnicodeError:
            raise ValueError("the URL's host is not a valid name") from None
    labels = host.lower().removesuffix(".").split(".")
    name = ".".join(labels)
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise ValueError("the URL's host is not an address") from None
    if len(name) > HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the URL's host is not a valid name")
    return name


def _named(entry: str) -> Origin:
    told = "this" if "@" in entry else f"'{entry.partition('?')[0]}'"  # no password, no signature
    try:
        url = Url.parse(entry)
    except ValueError as error:
        raise ValueError(
            f"{told} is not an origin such as https://files.example: {error}"
        ) from None
    if url.path != "/" or url.query:
        raise ValueError(f"{told} is not an origin: leave out what follows the host and port")
    return url.origin


def _encoded(part: str) -> str:
    """A part with what is not ASCII percent-encoded, and all else as the client wrote it."""
    return quote(part, safe=_ASCII)
