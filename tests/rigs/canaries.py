"""Secrets planted on purpose, and the search for any form of them."""

from __future__ import annotations

import os
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

FIRST = 12


def canary(name: str) -> str:
    """A secret that no shape gives away, and that URLs and base64 spell otherwise."""
    return f"{os.urandom(4).hex()}+{name}/{os.urandom(9).hex()}=~"


def forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """How a secret may look when it got out: raw, base64 at any offset, URL-encoded, cut."""
    raw = secret.encode()
    yield "raw", raw
    yield "first characters", raw[:FIRST]
    yield "hex", raw.hex().encode()
    for encode in (quote, quote_plus):
        yield "url", encode(secret, safe="").encode()
    for spell in (b64encode, urlsafe_b64encode):
        for before in range(3):
            text = spell(bytes(before) + raw)
            # Of the first and last characters some bits are not the secret's.
            yield f"base64 at {before}", text[4 if before else 0 : len(text) // 4 * 4 - 4]


def found_in(places: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Every leak, as `SECRET (FORM) in PLACE`."""
    return [
        f"{name} ({form}) in {place}"
        for name, secret in secrets.items()
        for form, looks in dict.fromkeys(forms(secret))
        for place, text in places.items()
        if looks in text
    ]
