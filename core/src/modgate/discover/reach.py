"""How an engine is reached of which only the address is found."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Literal

from pydantic import BaseModel, Field, field_validator


class Reach(BaseModel, frozen=True, extra="forbid"):
    """The keys of kinds that find addresses."""

    scheme: Literal["http", "https"] = Field("http", description="how engines are spoken to")
    path: str = Field("", description="what stands before every path of theirs")

    @field_validator("path")
    @classmethod
    def _path(cls, text: str) -> str:
        if text and (not text.startswith("/") or set(text) & set("?# \t\r\n")):
            raise ValueError('a path reads "/engine"')
        return text.rstrip("/")

    def url(self, host: str, port: int) -> str:
        """The address of an engine there."""
        return f"{self.scheme}://{bracketed(host)}:{port}{self.path}"


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        return host
