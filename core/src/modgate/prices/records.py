"""The form that rated lines have outside of the gateway: version 1.

Amounts are whole micro-units of the currency; a price is `pico` pico-units for every `per` units.
A change of these keys or of what they mean is a new version.
"""

from __future__ import annotations

from modgate.api.json import JsonObject
from modgate.prices.rating import Rated

VERSION = 1


def record_of(rated: Rated) -> JsonObject:
    """A request's price lines."""
    return {
        "v": VERSION,
        "book": rated.book,
        "currency": rated.currency,
        "micro": rated.micro,
        "pricing": rated.pricing,
        "unpriced": list(rated.unpriced),
        "lines": [
            {
                "unit": line.unit,
                "count": line.count,
                "pico": line.price.pico,
                "per": line.price.per,
                "micro": line.micro,
                **({"model": line.model} if line.model else {}),
            }
            for line in rated.lines
        ],
    }
