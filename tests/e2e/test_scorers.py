"""A third party's filters and scorers, installed beside the gateway: what they do to calls."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from gateways import Running, configuration, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine

from modgate.cli import main
from modgate.testing.backend import FakeBackend, Scripted

CHAT = ask.chat(1, model="chat")
HARDWARE = ("a10", "h100")
TELEMETRY = """
[telemetry]
scrape = "0s"
probe = "0s"
[signals.npu]
url = "{exporter}"
every = "500ms"
engines = ["b0"]
temperature = {{ metric = "NPU_TEMP" }}
"""
COOL = '[plugin.advice]\n[scorer.cool]\nmodels = ["chat"]\nfactor = 100\n'


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys as an installed distribution: what its wheel would put there."""
    site = tmp_path / "site"
    info = site / "acme_advice-1.2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-advice\nVersion: 1.2.0\n")
    (info / "entry_points.txt").write_text("[modgate.v1]\nadvice = toys.advice\n")
    monkeypatch.syspath_prepend(str(site))


@asynccontextmanager
async def world(
    folder: Path, more: str, *, engines: int = 2
) -> AsyncIterator[tuple[Running, list[ScriptedEngine]]]:
    """A gateway before so many engines that are as good as each other."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(ScriptedEngine()) for _ in range(engines)]
        running = await start(
            folder,
            [
                {"url": each.url, "hardware": kind}
                for each, kind in zip(made, HARDWARE[:engines], strict=True)
            ],
            plugins=["llm"],
            tenants={"acme": "", "globex": ""},
            more=more,
        )
        stack.push_async_callback(running.app.close)
        for health in running.app.state.fleet.health.values():
            health.cap = None  # as if they had been there for long
        yield running, made


async def asked(running: Running, engines: Sequence[ScriptedEngine], tenant: str) -> list[int]:
    """Calls of each engine, of twenty of this tenant; each is answered."""
    before = [len(each.records) for each in engines]
    for _ in range(20):
        client = await send(running.url, CHAT, key=running.keys[tenant])
        assert client.status == 200
    return [len(each.records) - n for each, n in zip(engines, before, strict=True)]


@pytest.mark.usefixtures("_installed")
async def test_a_scorer_of_an_installed_distribution_spares_a_hot_engine(tmp_path: Path) -> None:
    async with FakeBackend() as exporter:
        exporter.answer("/metrics", Scripted(reply=b"NPU_TEMP 95\n"))
        more = TELEMETRY.format(exporter=exporter.url) + COOL
        async with world(tmp_path, more) as (running, engines):
            await known(running, 95)
            hot = await asked(running, engines, "acme")

    assert hot == [0, 20]


async def known(running: Running, degrees: float) -> None:
    """Until the first backend is known to be so warm."""
    end = time.monotonic() + 5
    backends = running.app.state.gateway().fleet.backends
    while True:
        signals = running.app.state.vitals(backends["b0"]).signals
        if signals is not None and signals.temperature == degrees:
            return
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.mark.usefixtures("_installed")
async def test_a_filter_keeps_one_tenants_calls_apart(tmp_path: Path) -> None:
    apart = '[plugin.advice]\n[scorer.apart]\nkind = "kept-apart"\n'
    more = apart + 'tenant = "acme"\nhardware = "h100"\n'
    async with world(tmp_path, more) as (running, engines):
        found = [await asked(running, engines, tenant) for tenant in ("acme", "globex")]

    assert found == [[0, 20], [20, 0]]


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("does", ["raise", "nan", "short"])
async def test_one_that_breaks_fails_no_call_and_is_counted(tmp_path: Path, does: str) -> None:
    more = f'[plugin.advice]\n[scorer.odd]\nkind = "says"\ndoes = "{does}"\n'
    async with world(tmp_path, more) as (running, engines):
        found = await asked(running, engines, "acme")
        metrics = await running.page("/metrics")

    fault = "exception" if does == "raise" else "nonsense"
    assert sum(found) == 20
    assert f'modgate_scorer_faults_total{{scorer="odd",fault="{fault}"}} 5' in metrics


@pytest.mark.usefixtures("_installed")
async def test_a_model_with_one_backend_asks_nobody(tmp_path: Path) -> None:
    more = '[plugin.advice]\n[scorer.odd]\nkind = "says"\ndoes = "raise"\n'
    async with world(tmp_path, more, engines=1) as (running, engines):
        await asked(running, engines, "acme")

        assert running.app.state.scorer_faults.values == {}


async def explained(running: Running) -> Any:
    """What led to the reply to a chat of acme."""
    client = await send(running.url, CHAT, key=running.key)
    headers = {name.lower(): value for name, value in client.headers.items()}
    page = f"{running.admin}/admin/v1/requests/{headers['x-request-id']}"
    async with aiohttp.ClientSession() as session, session.get(page) as reply:
        return await reply.json()


@pytest.mark.usefixtures("_installed")
async def test_why_a_filtered_backend_was_not_the_one_is_told(tmp_path: Path) -> None:
    apart = '[plugin.advice]\n[scorer.apart]\nkind = "kept-apart"\n'
    more = apart + 'tenant = "acme"\nhardware = "h100"\n'
    async with world(tmp_path, more) as (running, _):
        told = await explained(running)

    assert '"left_out": "filtered"' in json.dumps(told)


@pytest.mark.usefixtures("_installed")
async def test_what_a_scorer_said_is_in_the_score_that_is_told(tmp_path: Path) -> None:
    more = '[plugin.advice]\n[scorer.odd]\nkind = "says"\ndoes = "like-b1"\n'
    async with world(tmp_path, more) as (running, _):
        told = await explained(running)

    candidates = told["attempts"][0]["pick"]["candidates"]
    ratio = {each["backend"]: each["score_ms"] / each["predicted_ms"] for each in candidates}
    assert ratio == {"b0": pytest.approx(1.0), "b1": pytest.approx(0.01)}


@pytest.mark.usefixtures("_installed")
def test_the_command_lists_what_is_installed(tmp_path: Path) -> None:
    path, _ = configuration(tmp_path, [{"url": "http://127.0.0.1:9"}], plugins=["llm"], more=COOL)
    said = CliRunner().invoke(main, ["plugins", "--config", str(path)])
    lines = [" ".join(line.split()) for line in said.output.splitlines()]

    assert said.exit_code == 0, said.output
    assert "advice acme-advice 1.2.0 API v1 on" in lines
    assert {"scorer cool", "scorer kept-apart", "scorer says"} <= set(lines)
