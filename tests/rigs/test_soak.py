"""The soak's own arithmetic: growth is seen, and what fills at the beginning is not."""

from __future__ import annotations

import random

import pytest

from rigs.soak import Reading, slope_per_1000

MIB = 1 << 20


def readings(grows: int) -> list[Reading]:
    """Of 100,000 requests: 30 MiB fill in the first fifth; noise of 1 MiB; `grows` a request."""
    rng = random.Random(1)
    return [
        Reading(
            requests=count,
            rss=100 * MIB
            + min(count, 20_000) * 30 * MIB // 20_000
            + count * grows
            + rng.randrange(MIB),
        )
        for count in range(250, 100_001, 250)
    ]


@pytest.mark.parametrize("bytes_each", [0, 64, 1000])
def test_what_each_request_leaves_is_the_slope_whatever_filled_before(bytes_each: int) -> None:
    assert slope_per_1000(readings(bytes_each)) == pytest.approx(1000 * bytes_each, abs=3000)
