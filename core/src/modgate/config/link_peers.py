"""Linking what gateways tell each other: a Redis to tell it over, and a secret to believe it by."""

from __future__ import annotations

from urllib.parse import urlsplit

from modgate.config.mistakes import Mistakes
from modgate.config.schema_peers import PeersSection

SCHEMES = ("redis", "rediss", "unix")
SECRET_AT_LEAST = 16
NEEDED = 'needs a secret that all gateways have: add secret = { file = "/run/secrets/peers" }'


def link_peers(section: PeersSection | None, mistakes: Mistakes) -> None:
    """Look for the mistakes of the section; mechanisms take it as it is."""
    if section is None:
        return
    if urlsplit(section.url).scheme not in SCHEMES:
        text = 'reads "redis://HOST:PORT", "rediss://HOST:PORT" or "unix:///PATH"'
        mistakes.wrong(("peers", "url"), text)
    if section.secret is None:
        mistakes.wrong(("peers",), NEEDED)
    elif len(section.secret.reveal()) < SECRET_AT_LEAST:
        mistakes.wrong(("peers", "secret"), f"is shorter than {SECRET_AT_LEAST} characters")
