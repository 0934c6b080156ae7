"""Tables of other versions of the sinks: of the one before, and of the next side by side with ours.

The golden files are what each version left, in SQL.  A new version only adds, so the next one is
ours with a column more.
"""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace
from rigs.databases import Database, Postgres, Sqlite
from rigs.ledger import WALL
from rigs.ledger import receipt as receipt_of
from servers import Server

from modgate.api.shipment import Cursor, LedgerSink, Shipment, SinkDown, UsageRow
from modgate.ledger import postgres_sink, sqlite_sink
from modgate.ledger.columns import ADDED as ADDED_BY
from modgate.ledger.records import ended_of
from modgate.ledger.rows import end_row
from modgate.ledger.stored import whole

GOLDEN = Path(__file__).parent / "golden"
ADDED = "ALTER TABLE modgate_usage ADD COLUMN later TEXT NOT NULL DEFAULT 'nothing';"
IDS = "SELECT request_id, kind FROM modgate_usage ORDER BY 1, 2"
KNOWN = [("req_1", "adjust"), ("req_1", "end")]


def row(request_id: str) -> UsageRow:
    return end_row(ended_of(receipt_of(request_id)), "gw.00000002")


def cursor(offset: int) -> Cursor:
    return Cursor(writer="gw.00000002", segment=1, offset=offset, frames=2, last=b"d" * 16, at=WALL)


@pytest.fixture(params=[1, 2])
async def tables(database: Database, request: pytest.FixtureRequest) -> Database:
    """A store that a version left."""
    await database.run((GOLDEN / f"usage-v{request.param}-{database.name}.sql").read_text())
    return database


async def shipped(sink: LedgerSink, request_id: str, offset: int) -> None:
    await sink.write(Shipment(rows=[row(request_id)], cursor=cursor(offset)))


async def test_tables_that_a_version_left_are_gone_on_with(
    tables: Database,
) -> None:
    sink = tables.sink()
    try:
        [known] = await sink.open()
        await shipped(sink, "req_2", 10)
    finally:
        await sink.close()

    assert (known.writer, known.offset, known.last) == ("gw.00000001", 200, b"c" * 16)
    assert await tables.run(IDS) == [*KNOWN, ("req_2", "end")]
    assert await tables.run("SELECT count(*) FROM modgate_usage_units") != [(0,)]


async def test_two_versions_side_by_side_ship_to_one_store(
    tables: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one has the tables open when the new one adds to them, and opens them again."""
    old = tables.sink()
    await old.open()
    await tables.run(f"{ADDED} {tables.says_version} = 3;")
    for module in (sqlite_sink, postgres_sink):
        monkeypatch.setattr(module, "SCHEMA_VERSION", 3)
    new = tables.sink()
    await new.open()
    monkeypatch.undo()
    again = tables.sink()
    await again.open()
    try:
        for number, sink in enumerate((old, new, again, old, new), 2):
            await shipped(sink, f"req_{number}", number)
    finally:
        for sink in (old, new, again):
            await sink.close()

    assert await tables.run(IDS) == [*KNOWN, *((f"req_{n}", "end") for n in range(2, 7))]
    assert await tables.run(tables.version) == [(3,)]
    assert await tables.run("SELECT DISTINCT later FROM modgate_usage") == [("nothing",)]


async def test_tables_that_a_transaction_holds_are_changed_once_it_has_ended(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then each try ends soon, and says why: rows of other gateways wait behind it."""
    monkeypatch.setattr(postgres_sink, "LOCK_WAIT_S", 0.05)
    tables = Postgres(server.url, tmp_path)
    await tables.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await tables.run((GOLDEN / "usage-v1-postgres.sql").read_text())
    reader, tried, again = await asyncpg.connect(server.url), tables.sink(), tables.sink()
    try:
        async with reader.transaction():
            await reader.execute(IDS)
            with pytest.raises(SinkDown, match="transaction holds its tables"):
                await tried.open()
        await again.open()
    finally:
        for each in (tried, again, reader):
            await each.close()

    assert await tables.run(tables.version) == [(2,)]


STOOD_IN = {"fallback_for": "chat", "fallback_on": "unmet", "slo": "best-effort"}


async def test_a_row_says_what_its_receipt_says_and_what_was_there_before_says_nothing(
    tables: Database,
) -> None:
    notes = {**STOOD_IN, "on_disconnect": "drained", "would_refuse": "requests/hour"}
    said = end_row(ended_of(replace(receipt_of("req_2"), notes=notes)), "gw.00000002")
    sink = tables.sink()
    await sink.open()
    await sink.write(Shipment(rows=[said], cursor=cursor(10)))
    await sink.close()
    asked = f"SELECT request_id, v, {', '.join(ADDED_BY[2])} FROM modgate_usage WHERE kind = 'end'"

    assert sorted(await tables.run(asked))[-1] == (
        *("req_2", 2),
        *("chat", "unmet", "best-effort", "drained", "requests/hour"),
    )
    assert (await tables.run(f"{asked} AND request_id = 'req_1'"))[0][2:] == ("",) * 5


@pytest.mark.parametrize("version", [1, 2])
async def test_a_file_that_no_gateway_opened_since_is_read_as_it_is(
    tmp_path: Path, version: int
) -> None:
    await Sqlite(tmp_path).run((GOLDEN / f"usage-v{version}-sqlite.sql").read_text())
    with whole(tmp_path, tmp_path / "usage.sqlite") as found:
        [row] = found.rows()

    assert (row.id, row.model, row.fallback_for, row.promise) == ("req_1", "chat", "", "")


async def test_what_a_row_says_is_read_again(tmp_path: Path) -> None:
    receipt = replace(receipt_of("req_2"), notes={**STOOD_IN, "would_refuse": "requests/hour"})
    sink = Sqlite(tmp_path).sink()
    await sink.open()
    await sink.write(Shipment(rows=[end_row(ended_of(receipt), "gw.1")], cursor=cursor(10)))
    await sink.close()
    with whole(tmp_path, tmp_path / "usage.sqlite") as found:
        [row] = found.rows()

    assert row == ended_of(receipt)
