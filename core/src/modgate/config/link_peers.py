"""Linking what gateways tell each other: a Redis to tell it over, and a secret to believe it by."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from modgate.config.schema_peers import PeersSection

SCHEMES = ("redis", "rediss", "unix")
SECRET_AT_LEAST = 16
NEEDED = 'needs a secret that all gateways have: add secret = { file = "/run/secrets/peers" }'

Wrong = Callable[[tuple[str, ...], str], None]


def link_peers(section: PeersSection | None, wrong: Wrong) -> None:
    """`wrong(path, message)` is told each mistake of the section."""
    if section is None:
        return
    if urlsplit(section.url).scheme not in SCHEMES:
        text = 'reads "redis://HOST:PORT", "rediss://HOST:PORT" or "unix:///PATH"'
        wrong(("peers", "url"), text)
    if section.secret is None:
        wrong(("peers",), NEEDED)
    elif len(section.secret.reveal()) < SECRET_AT_LEAST:
        wrong(("peers", "secret"), f"is shorter than {SECRET_AT_LEAST} characters")
