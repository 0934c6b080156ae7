"""Sharing out a whole number: what an engine counted for a trip, among the requests that shared it.

Source: wire.md 6.3 and algorithms.md appendix B, the largest remainder.
"""

from __future__ import annotations

from collections.abc import Sequence


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole shares by weight that sum to it, each at least 1 where there is enough.

    Ties go to the first.
    """
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    remainders = [total * weight % whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda at: (-remainders[at], at))
    for at in order[: total - sum(shares)]:
        shares[at] += 1
    if total >= len(weights):
        for at, share in enumerate(shares):
            if share == 0:
                richest = max(range(len(shares)), key=shares.__getitem__)
                shares[richest] -= 1
                shares[at] = 1
    return shares
