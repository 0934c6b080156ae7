"""Where to listen, as operators write it: `127.0.0.1:8080`, `[::1]:8080`, `gateway.example:443`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from modgate.api.json import Json
from modgate.api.secret import without_password
from modgate.api.select import base_url

PORTS = 1 << 16
_ADDRESS = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
_NUMERIC = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen; `host` without brackets, port 0 = a free one each time."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def everywhere(self) -> bool:
        """Whether it means all addresses of this machine."""
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def collides(self, other: HostPort) -> bool:
        """Whether two listeners cannot have both."""
        shared = self.host == other.host or self.everywhere or other.everywhere
        return shared and self.port == other.port != 0


def host_port(value: Json) -> HostPort:
    """An address read; ValueError says what one reads like."""
    if isinstance(value, HostPort):
        return value
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('reads "HOST:PORT", with an IPv6 host in brackets: "[::1]:8080"')
    port = int(found["port"])
    if port >= PORTS:
        raise ValueError(f"port {port} is none: ports go from 0 to {PORTS - 1}")
    try:
        if found["six"] is not None:
            return HostPort(str(IPv6Address(found["six"])), port)
        if _NUMERIC.fullmatch(found["name"]):
            return HostPort(str(IPv4Address(found["name"])), port)
    except ValueError:
        raise ValueError(f"'{found['six'] or found['name']}' is no IP address") from None
    return HostPort(found["name"], port)


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"no network such as 10.0.0.0/8: {error}") from None
    return text


def _origin(text: str) -> str:
    if text == "*":
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" != text:
        raise ValueError('an origin reads "https://app.example", without a path, or "*"')
    if text != text.lower() or "@" in text or not parts.hostname:
        raise ValueError("an origin reads as a browser sends it: in lower case, without a user")
    return text


def _endpoint(text: str) -> str:
    if base_url(text):
        raise ValueError('reads "http://collector:4318": http or https, and a host')
    return text


Address = Annotated[
    HostPort,
    BeforeValidator(host_port),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8080"]}),
]
Network = Annotated[str, AfterValidator(_network)]
WebOrigin = Annotated[str, AfterValidator(_origin)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
StoreUrl = Annotated[str, AfterValidator(without_password)]
