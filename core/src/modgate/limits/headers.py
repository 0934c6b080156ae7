"""Telling a client in response headers how much is left of its limits.

Source: wire.md 1.5 and B1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil

import msgspec

# Its SDK knows these.
ANTHROPIC = frozenset({"requests", "tokens", "input_tokens", "output_tokens"})


class RateView(msgspec.Struct, frozen=True):
    """One limit as the client sees it.

    `unit`: its short shown name (`tokens`).  `limit`, `remaining`: in that unit.  `reset_ms`: how
    long until all of it is there again.
    """

    unit: str
    limit: int
    remaining: int
    reset_ms: int


def headers(views: Iterable[RateView]) -> dict[str, str]:
    """The headers `x-ratelimit-limit-<unit>`, `-remaining-` and `-reset-`, as OpenAI writes them.

    Of several limits on one unit, the one with the least remaining is told.
    """
    found: dict[str, str] = {}
    for view in views:
        limit, remaining, reset = _names(view.unit)
        if remaining not in found or view.remaining < int(found[remaining]):
            found[limit] = str(view.limit)
            found[remaining] = str(view.remaining)
            found[reset] = go_duration(view.reset_ms)
    return found


@lru_cache(256)
def _names(unit: str) -> tuple[str, str, str]:
    name = unit.replace("_", "-")
    front = "x-ratelimit"
    return f"{front}-limit-{name}", f"{front}-remaining-{name}", f"{front}-reset-{name}"


def anthropic_headers(views: Iterable[RateView], wall: float) -> dict[str, str]:
    """The headers `anthropic-ratelimit-<unit>-limit`, `-remaining` and `-reset`.

    `reset` is a time of day there; `wall` is the time of day now, in seconds.
    """
    found: dict[str, str] = {}
    for unit, view in _tightest(views).items():
        if unit not in ANTHROPIC:
            continue
        front = f"anthropic-ratelimit-{unit.replace('_', '-')}"
        found[f"{front}-limit"] = str(view.limit)
        found[f"{front}-remaining"] = str(view.remaining)
        found[f"{front}-reset"] = rfc_3339(wall + view.reset_ms / 1000)
    return found


def _tightest(views: Iterable[RateView]) -> Mapping[str, RateView]:
    tightest: dict[str, RateView] = {}
    for view in views:
        known = tightest.get(view.unit)
        if known is None or view.remaining < known.remaining:
            tightest[view.unit] = view
    return tightest


def rfc_3339(seconds: float) -> str:
    """A time as RFC 3339 writes it in UTC, in whole seconds, never too early."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ceil(seconds))
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def go_duration(ms: int) -> str:
    """Milliseconds as Go writes a duration: `12ms`, `8.64s`, `6m0s`, `1h2m3s`."""
    if ms < 1000:
        return f"{ms}ms" if ms > 0 else "0s"
    whole, ms = divmod(ms, 1000)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    text = f"{s}.{ms:03}".rstrip("0") if ms else str(s)
    front = f"{hours}h{m}m" if hours else f"{m}m" if m else ""
    return f"{front}{text}s"
