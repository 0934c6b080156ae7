"""Tables of other versions of the sinks: of the one before, and of the next side by side with ours.

The golden files are what version 1 left, in SQL.  A new version only adds, so the next one is ours
with a column more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from rigs.ledger import WALL
from rigs.ledger import receipt as receipt_of
from servers import Server, postgres

from modgate.api.shipment import Cursor, LedgerSink, Shipment, UsageRow
from modgate.ledger import postgres_sink, sqlite_sink
from modgate.ledger.postgres_sink import PostgresConfig, PostgresSink
from modgate.ledger.records import ended_of
from modgate.ledger.rows import end_row
from modgate.ledger.sqlite_sink import SqliteConfig, SqliteSink

GOLDEN = Path(__file__).parent / "golden"
ADDED = "ALTER TABLE modgate_usage ADD COLUMN later TEXT NOT NULL DEFAULT 'nothing';"
IDS = "SELECT request_id, kind FROM modgate_usage ORDER BY 1, 2"
KNOWN = [("req_1", "adjust"), ("req_1", "end")]


def row(request_id: str) -> UsageRow:
    return end_row(ended_of(receipt_of(request_id)), "gw.00000002")


def cursor(offset: int) -> Cursor:
    return Cursor(writer="gw.00000002", segment=1, offset=offset, frames=2, last=b"d" * 16, at=WALL)


class Tables:
    """A sink's store, which SQL makes and looks at."""

    version = ""
    golden = ""
    second = ""

    def sink(self) -> LedgerSink:
        raise NotImplementedError  # not asked here

    async def run(self, sql: str) -> list[tuple[object, ...]]:
        raise NotImplementedError  # not asked here


class InSqlite(Tables):
    golden = (GOLDEN / "usage-v1-sqlite.sql").read_text()
    version = "PRAGMA user_version"
    second = f"{ADDED} PRAGMA user_version = 2;"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sink(self) -> LedgerSink:
        return SqliteSink(SqliteConfig(), folder=self.folder)

    async def run(self, sql: str) -> list[tuple[object, ...]]:
        db = sqlite3.connect(self.folder / "usage.sqlite", isolation_level=None)
        try:
            if sql.startswith(("SELECT", "PRAGMA")):
                return list(db.execute(sql))
            db.executescript(sql)
            return []
        finally:
            db.close()


class InPostgres(Tables):
    golden = (GOLDEN / "usage-v1-postgres.sql").read_text()
    version = "SELECT version FROM modgate_schema"
    second = f"{ADDED} UPDATE modgate_schema SET version = 2;"

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def sink(self) -> LedgerSink:
        return PostgresSink(PostgresConfig(url=self.url), folder=self.folder)

    async def run(self, sql: str) -> list[tuple[object, ...]]:
        db = await asyncpg.connect(self.url)
        try:
            if sql.startswith("SELECT"):
                return [tuple(each) for each in await db.fetch(sql)]
            await db.execute(sql)
            return []
        finally:
            await db.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres(tmp_path_factory.mktemp("postgres")) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
async def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Tables:
    """A store that version 1 left."""
    if request.param == "sqlite":
        made: Tables = InSqlite(tmp_path)
    else:
        made = InPostgres(request.getfixturevalue("server").url, tmp_path)
        await made.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await made.run(made.golden)
    return made


async def shipped(sink: LedgerSink, request_id: str, offset: int) -> None:
    await sink.write(Shipment(rows=[row(request_id)], cursor=cursor(offset)))


async def test_tables_that_version_1_left_are_gone_on_with(
    tables: Tables,
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
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one has the tables open when the new one adds to them, and opens them again."""
    old = tables.sink()
    await old.open()
    await tables.run(tables.second)
    for module in (sqlite_sink, postgres_sink):
        monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
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
    assert await tables.run(tables.version) == [(2,)]
    assert await tables.run("SELECT DISTINCT later FROM modgate_usage") == [("nothing",)]
