"""A gateway that shares its limits with nobody goes on with them after a restart.

Source: algorithms.md 3.4 (day and month windows outlive what counted them); RFD 60.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Script

from modgate.api.price import BUDGET
from modgate.server import app

LIMITS = """
limits = { requests = "5/month", cost = "1 EUR/month", units = { "llm.output_tokens" = "90/day" } }
"""
PRICES = """
[price.first]
effective = 2020-01-01
currency = "EUR"
units = { "llm.input_tokens" = "1/1k", "llm.output_tokens" = "1/1k", "llm.requests" = "free" }
"""


async def opened(folder: Path, engine: ScriptedEngine) -> Running:
    """With the same state directory each time."""
    engine.script_for = lambda record: Script(tokens=20)
    backends = [{"url": engine.url}]
    return await start(folder, backends, plugins=("llm",), tenants={"acme": LIMITS}, more=PRICES)


async def chat(running: Running) -> ClientRecord:
    request = ask.chat(1, model="chat", max_tokens=40)
    return await send(running.url, request, key=running.key)


def left(record: ClientRecord) -> list[int]:
    """Of requests and of output tokens."""
    names = ("requests", "output-tokens")
    return [int(record.headers[f"x-ratelimit-remaining-{name}"]) for name in names]


async def test_a_restart_refills_no_quota_of_a_day_or_month_and_no_budget(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    told, spent = [], []
    for _ in range(4):
        async with await opened(tmp_path, engine) as running:
            told.append(await chat(running))
        levels = running.app.state.limits.levels
        spent += [level.value for key, level in levels._levels.items() if BUDGET in key]

    assert [record.status for record in told] == [200, 200, 200, 429]
    assert [left(record) for record in told[:3]] == [[4, 50], [3, 30], [2, 10]]
    assert spent == [number * spent[0] for number in (1, 2, 3, 3)]
    assert spent[0] > 20_000
    assert os.stat(tmp_path / "state" / "levels").st_mode & 0o777 == 0o600


async def test_a_gateway_that_was_killed_goes_on_with_what_it_wrote(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await opened(tmp_path, engine) as running:
        first = await chat(running)
        kept = running.app.state.level_file
        assert kept is not None
        written = kept.levels.written(running.app.state.limits.ms(running.app.state.clock.now()))
    (tmp_path / "state" / "levels").write_bytes(written)
    async with await opened(tmp_path, engine) as running:
        second = await chat(running)

    assert [left(first), left(second)] == [[4, 50], [3, 30]]


class SetClock:
    """A wall clock that is behind until it is set right."""

    behind_s = 0.0
    now = staticmethod(time.monotonic)

    def wall(self) -> float:
        return time.time() - self.behind_s


async def test_a_clock_that_is_set_right_while_a_gateway_runs_refills_nothing_at_its_restart(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    monkeypatch.setattr(app, "SystemClock", lambda: clock)
    clock.behind_s = 400 * 86_400.0
    async with await opened(tmp_path, engine) as running:
        clock.behind_s = 0.0
        first = await chat(running)
    async with await opened(tmp_path, engine) as running:
        second = await chat(running)

    assert [left(first), left(second)] == [[4, 50], [3, 30]]
