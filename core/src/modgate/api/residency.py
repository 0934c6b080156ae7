"""Where a caller's data may lie: one rule, asked on every way out of the gateway.

Engines, sinks, the stores of limits and of idempotency keys, the spool, traces and fetched URLs.
"""

from __future__ import annotations

from collections.abc import Collection


def may_lie(regions: Collection[str] | None, region: str | None) -> bool:
    """Whether data that is kept to `regions` (None: to none) may be where `region` is.

    `region` "" is nobody's: who does not say where it stands is given no such data.  None is this
    machine, of which nothing was said: whoever sent the data here knew where that is.
    """
    return regions is None or region is None or region in regions


def sorted_regions(regions: Collection[str] | None) -> tuple[str, ...] | None:
    """Regions as a record says them."""
    return None if regions is None else tuple(sorted(regions))
