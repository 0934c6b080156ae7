"""A ledger that fills up is told before it refuses, when it does, and when there is room again."""

from __future__ import annotations

from pathlib import Path

import pytest
from rigs.ledger import ledger, request, segments
from rigs.sinks import until

from modgate.server import full_ledger
from modgate.server.full_ledger import FullLedger

AT_MOST, SEGMENT = 8_000, 2_000


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.name == full_ledger.__name__]


async def test_each_state_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ledger(tmp_path, segment_bytes=SEGMENT, max_bytes=AT_MOST) as made:
        room = FullLedger(made)
        told: list[tuple[int, str]] = []
        for index in range(100):
            caplog.clear()
            if made.writable:
                request(made, f"r{index}")
            await room.look()
            told += [(made.kept_bytes, each) for each in said(caplog)]
        made.sync()
        for old in segments(tmp_path)[:2]:
            old.unlink()
        until(lambda: made.writable)
        for _ in range(2):
            await room.look()

    assert [message for _, message in told] == [
        "ledger is nearly full",
        "ledger is full: requests are refused",
    ]
    assert [kept // (AT_MOST // 10) for kept, _ in told] == [9, 10]
    assert said(caplog) == ["ledger has room again"]
