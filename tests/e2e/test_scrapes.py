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
