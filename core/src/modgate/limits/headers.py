"""Limits as response headers (wire.md 1.5, B1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True, kw_only=True)
class RateView:
    """One limit as the client sees it.

    `unit` is the short shown name, `reset_s` until it is full again.
    """

    unit: str
    limit: int
    remaining: int
    reset_s: float


def headers(views: Iterable[RateView]) -> dict[str, str]:
    """`x-ratelimit-limit|remaining|reset-<unit>`; of several limits on one unit the tightest."""
    tightest: dict[str, RateView] = {}
    for view in views:
        known = tightest.get(view.unit)
        if known is None or view.remaining < known.remaining:
            tightest[view.unit] = view
    found: dict[str, str] = {}
    for unit, view in tightest.items():
        name = unit.replace("_", "-")
        found[f"x-ratelimit-limit-{name}"] = str(view.limit)
        found[f"x-ratelimit-remaining-{name}"] = str(view.remaining)
        found[f"x-ratelimit-reset-{name}"] = go_duration(view.reset_s)
    return found


def go_duration(seconds: float) -> str:
    """A duration as Go writes it.

    `12ms`, `8.64s`, `6m0s`, `1h2m3s`; only nothing at all is `0s`.
    """
    if seconds <= 0:
        return "0s"
    milliseconds = ceil(round(seconds * 1000, 6))
    if milliseconds < 1000:
        return f"{max(1, milliseconds)}ms"
    whole, ms = divmod(milliseconds, 1000)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    text = f"{s}.{ms:03}".rstrip("0") if ms else str(s)
    front = f"{hours}h{m}m" if hours else f"{m}m" if m else ""
    return f"{front}{text}s"
