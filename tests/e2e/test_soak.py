"""Requests that end in every way leave nothing open: the short form of bench/soak.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from rigs.soak import soaking

REQUESTS = 600


@pytest.mark.slow
async def test_after_every_ending_nothing_is_left_open_and_every_answer_was_right(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    async with soaking(tmp_path, seed=1, tell=lines.append) as soak:
        verdict = await soak.run(REQUESTS, storm=100)

    assert verdict.wrong == {}, "\n".join(lines)
    assert sum(verdict.statuses.values()) == REQUESTS + 100
    assert {name: verdict.left[name] for name in ("close-wait", "in hand", "spool")} == {
        "close-wait": 0,
        "in hand": 0,
        "spool": 0,
    }
