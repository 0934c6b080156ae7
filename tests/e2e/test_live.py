"""Promises kept while an engine in each pool goes wrong: the short form of bench/live.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from rigs.live import Bounds, Times, live, live_gateway
from rigs.live_fleet import How, live_fleet
from rigs.live_traffic import sorts

SHORT = Times(warm_s=4.0, healthy_s=4.0, fault_s=11.0, rest_s=0.5)
LOOSE = Bounds(times=4.0, kept=0.8, amplified=1.25)  # few calls, on a machine that does more


@pytest.mark.slow
@pytest.mark.parametrize("how", ["black hole"])
async def test_no_call_fails_and_few_are_late_while_an_engine_goes_wrong(
    tmp_path: Path, how: How
) -> None:
    lines: list[str] = []
    async with (
        live_fleet(tmp_path, seed=1, speeds=(1.0, 1.3, 1.7), llamas=0) as fleet,
        live_gateway(tmp_path, fleet) as gateway,
    ):
        rows = await live(
            fleet,
            gateway,
            sorts(3.0),
            [how],
            times=SHORT,
            seed=1,
            tell=lines.append,
            bounds=LOOSE,
        )

    assert len(rows) == 7
    assert not [row for row in rows if row.broken()], "\n".join(lines)
