"""A gateway's rows reach its sinks; one that is down or a full ledger is told and billed right."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest
from aiohttp import ClientSession
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from pydantic import BaseModel
from rigs.sinks import until

from modgate.ledger.reader import rows
from modgate.plugin import Cursor, LedgerSink, Secret, Shipment, SinkDown, hookimpl
from modgate.problems import ConfigError


async def page(running: Running, path: str) -> tuple[int, dict[str, object], str]:
    async with ClientSession() as session, session.get(running.admin + path) as reply:
        text = await reply.text()
        return reply.status, await reply.json() if text.startswith("{") else {}, text


async def asked(running: Running, count: int) -> list[int | None]:
    return [
        (await send(running.url, ask.chat(tag, model="chat"), key=running.key)).status
        for tag in range(count)
    ]


async def test_without_a_word_in_the_file_rows_come_to_a_sqlite_file(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        assert await asked(running, 3) == [200] * 3

    db = sqlite3.connect(tmp_path / "state" / "usage.sqlite")
    found = db.execute("SELECT request_id, tenant, backend, ending FROM modgate_usage").fetchall()
    billed = db.execute(
        "SELECT sum(amount) FROM modgate_usage_units WHERE unit = 'llm.output_tokens'"
    ).fetchall()
    db.close()
    ledger = {row.id: row for row in rows(running.ledger)}
    assert {row[0] for row in found} == set(ledger)
    assert {row[1:] for row in found} == {("acme", "b0", "ok")}
    assert billed == [(sum(row.units["llm.output_tokens"] for row in ledger.values()),)]


async def test_ids_sort_by_time_so_that_a_table_of_them_grows_at_its_end(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        await asked(running, 5)

    found = sorted(rows(running.ledger), key=lambda row: row.wall)
    ids = [UUID(row.id.removeprefix("req_")) for row in found]
    assert [each.version for each in ids] == [7] * 5
    assert [each.int >> 80 for each in ids] == [
        pytest.approx(row.wall * 1000, abs=50) for row in found
    ]
    assert len({each.int & (1 << 62) - 1 for each in ids}) == 5


async def test_a_gateway_may_have_no_sink(tmp_path: Path, engine: ScriptedEngine) -> None:
    async with await start(
        tmp_path, [{"url": engine.url}], more="[ledger]\nsink = []\n"
    ) as running:
        assert await asked(running, 1) == [200]

    assert not (tmp_path / "state" / "usage.sqlite").exists()


class Settings(BaseModel):
    flavour: str = "plain"


class Store:
    """What the plugin's sink was given."""

    def __init__(self) -> None:
        self.down = True
        self.shipments: list[Shipment] = []
        self.said: list[str] = []


def plugin(store: Store) -> ModuleType:
    """A plugin that brings a sink."""

    class Warehouse(LedgerSink):
        name = "warehouse"
        config_type = Settings

        def __init__(self, config: Settings, *, folder: Path, password: Secret | None) -> None:
            store.said += [config.flavour, folder.name, password.reveal() if password else ""]

        async def open(self) -> Sequence[Cursor]:
            if store.down:
                threading.Event().wait(0.2)  # it may block: nobody waits for it
                raise SinkDown("its roof is leaking")
            return []

        async def write(self, shipment: Shipment) -> None:
            store.shipments.append(shipment)

        async def close(self) -> None:
            return

    def modgate_sinks() -> list[type[LedgerSink]]:
        return [Warehouse]

    module = ModuleType("brings")
    module.modgate_sinks = hookimpl(modgate_sinks)
    return module


SINK = '[plugin.brings]\n[[ledger.sink]]\nkind = "warehouse"\nflavour = "salt"\n'


async def test_a_plugins_sink_that_is_down_is_told_and_gets_everything_later(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    store = Store()
    (tmp_path / "word").write_text("a password")
    more = f'{SINK}password = {{ file = "{tmp_path / "word"}" }}\n'
    async with await start(
        tmp_path, [{"url": engine.url}], more=more, extra={"brings": plugin(store)}
    ) as running:
        assert await asked(running, 3) == [200] * 3
        [shipper] = running.app.state.shipping.shippers
        await asyncio.to_thread(until, lambda: bool(shipper.error))
        status, ready, _ = await page(running, "/health/ready")
        _, _, metrics = await page(running, "/metrics")
        store.down = False
    if not store.shipments:  # it was resting when the gateway left: the next start ships
        again = await start(
            tmp_path, [{"url": engine.url}], more=more, extra={"brings": plugin(store)}
        )
        await again.app.close()

    assert status == 200
    told = ready["ledger"]["sinks"]["warehouse"]
    assert (told["up"], told["error"]) == (False, "its roof is leaking")
    assert told["lag_frames"] >= 6
    assert 'modgate_ledger_sink_up{sink="warehouse"} 0' in metrics
    assert 'modgate_ledger_sink_lag_bytes{sink="warehouse"}' in metrics
    assert store.said[-3:] == ["salt", "state", "a password"]
    shipped = [row.request_id for each in store.shipments for row in each.rows]
    assert sorted(shipped) == sorted(row.id for row in rows(running.ledger))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('[[ledger.sink]]\nkind = "sqlit"\n', "no sink 'sqlit'"),
        ('[[ledger.sink]]\nkind = "postgres"\n', "ledger.sink[0].url: is required"),
        ('[[ledger.sink]]\nkind = "sqlite"\npaht = "x"\n', "did you mean 'path'"),
        (
            '[[ledger.sink]]\nkind = "postgres"\nurl = "postgresql://me:secret@host/db"\n',
            "ledger.sink[0].url: names a password",
        ),
        (
            '[ledger]\non_full = "drop-oldest"\nmax_bytes = "1MiB"\n',
            "ledger.max_bytes: less than two segments",
        ),
        (
            '[ledger]\nmax_bytes = "100MiB"\n',
            "max_bytes: less than two segments: none could be moved",
        ),
    ],
)
async def test_a_sink_that_cannot_be_meant_is_a_mistake_at_its_line(
    tmp_path: Path, more: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        await start(tmp_path, [], more=more)

    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_full_ledger_refuses_new_requests_and_bills_what_was_begun(
    tmp_path: Path, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with await start(
        tmp_path, [{"url": engine.url}], more="[ledger]\nmax_bytes = 8000\nsegment = 2000\n"
    ) as running:
        statuses = await asked(running, 30)
        client = await send(running.url, ask.chat(99, model="chat"), key=running.key)
        status, ready, _ = await page(running, "/health/ready")
        caplog.set_level("INFO", "modgate.request")
        await asked(running, 1)

    *_, line = (each for each in caplog.records if each.message == "request")
    assert line.__dict__["ending"] == "overloaded"
    served = statuses.index(503)
    assert 3 < served < 30
    assert set(statuses[served:]) == {503}
    assert client.error == "ledger_unavailable"
    assert client.headers["retry-after"] == "5"
    assert (status, ready["ledger"]["writable"]) == (503, False)
    billed = [row for row in rows(running.ledger) if row.ending == "ok"]
    assert len(billed) == served == len(engine.records)
