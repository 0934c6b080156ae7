"""Sharing out a whole number: what an engine counted for a trip among its requests, or money.

Source: wire.md 6.3 and algorithms.md appendix B, the largest remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole shares by weight that sum to it; ties go to the first.

    Every share is less than 1 from what it would be in fractions.  `weights` sum to more than 0.
    """
    whole = sum(weights)
    parts = [divmod(total * weight, whole) for weight in weights]
    shares = [share for share, _ in parts]
    order = sorted(range(len(weights)), key=lambda at: (-parts[at][1], at))
    for at in order[: total - sum(shares)]:
        shares[at] += 1
    return shares


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """The same, each at least 1 where there is enough."""
    shares = largest_remainder(total, weights)
    if total >= len(weights):
        richest = [(-share, at) for at, share in enumerate(shares) if share]
        heapify(richest)
        for at, share in enumerate(shares):
            if share == 0:
                _, rich = richest[0]
                shares[rich] -= 1
                heapreplace(richest, (-shares[rich], rich))
                shares[at] = 1
    return shares
