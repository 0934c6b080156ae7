"""A scrape of the metrics while calls run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import get_ident

import pytest
from gateways import start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine

from modgate.fleet.counters import Counters
from modgate.fleet.quantiles import Quantiles

OPERATORS = Path(__file__).parents[2] / "docs" / "operators"
GROWING = ("decoder_kills", "ledger_lost_frames", "ledger_sink_withheld_rows")
SLO = '[slo.gold.embedding]\ntotal = { base = "20s" }'


async def test_what_calls_change_by_the_minute_is_read_where_they_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()

    def noted(look: Callable[[object, float], None]) -> Callable[[object, float], None]:
        def looked(of: object, now: float) -> None:
            threads.add(get_ident())
            look(of, now)

        return looked

    async with ScriptedEngine() as one, ScriptedEngine() as other:
        backends = [{"url": each.url} for each in (one, other)]
        tenants = {"acme": 'slo = "gold"'}
        async with await start(tmp_path, backends, tenants=tenants, more=SLO) as running:
            request = ask.embeddings(1, model="vectors")
            await asyncio.gather(*(send(running.url, request, key=running.key) for _ in range(8)))
            for kind in (Counters, Quantiles):
                monkeypatch.setattr(kind, "look", noted(kind.look))

            text = await running.page("/metrics")

    assert "modgate_backend_p95_seconds{" in text
    assert "modgate_backend_promises{" in text
    assert threads == {get_ident()}


async def test_what_only_grows_is_a_counter_and_pages_tell_of_every_metric(tmp_path: Path) -> None:
    async with ScriptedEngine() as one, await start(tmp_path, [{"url": one.url}]) as running:
        lines = (await running.page("/metrics")).splitlines()
    kinds = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE"))
    counters = {name for name, kind in kinds.items() if kind == "counter"}
    pages = "".join(page.read_text() for page in OPERATORS.glob("*.md"))

    assert counters == {name for name in kinds if name.endswith("_total")}
    assert {f"modgate_{name}_total" for name in GROWING} <= counters
    assert [name for name in kinds if f"`{name}" not in pages] == []
