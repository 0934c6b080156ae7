"""kill -9 under mixed traffic: client, scripted engine and ledger agree per request and unit."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from rigs.chaos import chaos

from modgate.ledger.reader import rows


@pytest.mark.slow
async def test_twenty_kills_lose_no_bill_and_make_none_twice(tmp_path: Path) -> None:
    began = time.monotonic()
    verdict = await chaos(tmp_path, seed=20261128, kills=20, requests=340)

    assert verdict.violations == []
    assert verdict.kills == 20
    assert verdict.crashed >= 10
    assert verdict.hit >= 20
    ledger = {row.id: dict(row.units) for row in rows(tmp_path / "state" / "ledger")}
    db = sqlite3.connect(tmp_path / "state" / "usage.sqlite")
    shipped: dict[str, dict[str, int]] = {}
    for request_id, unit, amount in db.execute(
        "SELECT request_id, unit, amount FROM modgate_usage_units"
    ):
        shipped.setdefault(request_id, {})[unit] = amount
    db.close()
    assert shipped == {name: units for name, units in ledger.items() if units}
    assert time.monotonic() - began < 90
