"""The sinks of the core, on a real file and a real server: rows once, cursors with them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import asyncpg
import msgspec
import pytest
from rigs.databases import Database, Postgres, Sqlite
from rigs.ledger import WALL, ledger, receipt, request
from rigs.sinks import shipping, until
from servers import Server

from modgate.api.shipment import Cursor, Shipment, SinkDown, UsageRow
from modgate.api.sink import Attempt
from modgate.ledger.columns import COLUMNS, values_of
from modgate.ledger.records import Adjusted, ended_of
from modgate.ledger.rows import adjust_row, end_row
from modgate.ledger.sqlite_sink import SCHEMA_VERSION

GOLDEN = Path(__file__).parent / "golden"
FAILED = Attempt(
    call=0, backend="eu-1", region="eu", model="m", began_s=0.0, span="a" * 16, state="failed"
)
ANSWERED = Attempt(
    call=0, backend="us-1", region="us", model="m", began_s=0.1, span="b" * 16, state="ok"
)
END = end_row(ended_of(receipt("req_1", attempts=(FAILED, ANSWERED))), "gw.00000001")
ADJUST = adjust_row(
    Adjusted(
        id="req_1",
        sequence=1,
        wall=WALL + 60,
        reason="correction",
        tenant="acme",
        units={"llm.output_tokens": -3},
        note="counted twice",
    ),
    "gw.00000001",
)


def cursor(offset: int, *, segment: int = 1, writer: str = "gw.00000001") -> Cursor:
    return Cursor(writer=writer, segment=segment, offset=offset, frames=2, last=b"c" * 16, at=WALL)


async def kept(database: Database, *shipments: Shipment) -> None:
    sink = database.sink()
    await sink.open()
    for each in shipments:
        await sink.write(each)
    await sink.close()


async def test_a_row_has_what_an_invoice_needs(database: Database) -> None:
    await kept(database, Shipment(rows=[END, ADJUST], cursor=cursor(100)))

    [[tenant, key, model, region, backend, ending, exact, by, units]] = await database.run(
        "SELECT tenant, key_id, model, region, backend, ending, exact, measured_by, units "
        "FROM modgate_usage WHERE kind = 'end'"
    )
    assert (tenant, key, model, ending, by) == ("acme", "k1", "chat", "ok", "engine")
    assert (region, backend, bool(exact)) == ("us", "us-1", True)
    assert json.loads(str(units)) == {"llm.output_tokens": 7, "llm.requests": 1}
    summed = await database.run(
        "SELECT unit, sum(amount) FROM modgate_usage_units GROUP BY unit ORDER BY unit"
    )
    assert [(unit, int(str(total))) for unit, total in summed] == [
        ("llm.output_tokens", 4),
        ("llm.requests", 1),
    ]


async def test_what_comes_twice_is_there_once(database: Database) -> None:
    shipment = Shipment(rows=[END, ADJUST], cursor=cursor(100))
    await kept(database, shipment, shipment)
    await kept(database, shipment)

    assert await database.run("SELECT count(*) FROM modgate_usage") == [(2,)]


@pytest.mark.parametrize("count", [63, 64, 150])
async def test_many_rows_are_kept_as_they_are(database: Database, count: int) -> None:
    rows = [
        msgspec.structs.replace(END, request_id=f"r{index:03}", units={"llm.x": index})
        for index in range(count)
    ]
    await kept(database, Shipment(rows=rows, cursor=cursor(100)))

    found = await database.run(
        "SELECT request_id, unit, amount, backend FROM modgate_usage_units ORDER BY request_id"
    )
    assert found == [(f"r{index:03}", "llm.x", index, "us-1") for index in range(count)]


async def test_a_cursor_comes_back_and_never_goes_back(database: Database) -> None:
    await kept(
        database,
        Shipment(rows=[], cursor=cursor(100)),
        Shipment(rows=[], cursor=cursor(50)),
        Shipment(rows=[], cursor=cursor(10, segment=2, writer="gw.00000002")),
        Shipment(rows=[], cursor=cursor(900, segment=1, writer="gw.00000002")),
    )
    sink = database.sink()
    found = {each.writer: each for each in await sink.open()}
    await sink.close()

    assert found == {
        "gw.00000001": cursor(100),
        "gw.00000002": cursor(10, segment=2, writer="gw.00000002"),
    }


async def test_rows_and_cursor_are_kept_together_or_not_at_all(database: Database) -> None:
    bad = msgspec.structs.replace(cursor(100), last=None)
    sink = database.sink()
    await sink.open()
    with pytest.raises((sqlite3.Error, asyncpg.PostgresError)):
        await sink.write(Shipment(rows=[END], cursor=bad))
    await sink.close()

    assert await database.run("SELECT count(*) FROM modgate_usage") == [(0,)]


async def test_tables_of_a_version_to_come_are_left_alone(database: Database) -> None:
    await kept(database, Shipment(rows=[END], cursor=cursor(100)))
    await database.run(f"{database.says_version} = {SCHEMA_VERSION + 2}")
    sink = database.sink()
    with pytest.raises(SinkDown, match=f"version {SCHEMA_VERSION + 2}"):
        await sink.open()
    await sink.close()


async def test_several_gateways_make_the_tables_at_once(database: Database) -> None:
    sinks = [database.sink() for _ in range(5)]
    await asyncio.gather(*(sink.open() for sink in sinks))
    for sink in sinks:
        await sink.close()

    assert await database.run("SELECT count(*) FROM modgate_cursors") == [(0,)]


@pytest.mark.parametrize("row", [END, ADJUST], ids=["end", "adjust"])
def test_a_row_is_that_of_the_golden_file(row: UsageRow) -> None:
    golden = json.loads((GOLDEN / "rows.json").read_text())

    assert dict(zip(COLUMNS, values_of(row), strict=True)) == golden[row.kind]


@pytest.mark.parametrize("make", [Sqlite, Postgres])
def test_the_tables_have_the_columns_of_a_row(make: Callable[..., Database]) -> None:
    name = f"usage_{make.__name__.lower()}.sql"
    text = Path(__file__).parents[3] / "core/src/modgate/ledger" / name
    table = text.read_text().partition("modgate_usage (")[2].partition("PRIMARY")[0]

    assert tuple(line.split()[0] for line in table.strip().splitlines()) == COLUMNS


def test_a_usage_file_is_its_owners_alone(tmp_path: Path) -> None:
    asyncio.run(kept(Sqlite(tmp_path), Shipment(rows=[END], cursor=cursor(1))))

    assert (tmp_path / "usage.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_postgres_that_hangs_and_comes_back_gets_every_row_once(
    tmp_path: Path, server: Server
) -> None:
    made = Postgres(server.url, tmp_path)
    with (
        ledger(tmp_path / "ledger", name="hangs") as books,
        shipping(books, made.sink, deadline_s=1.0, most_s=0.2) as shipper,
    ):
        request(books, "before")
        until(lambda: shipper.rows == 1)
        server.pause()
        try:
            began = time.monotonic()
            for index in range(300):
                request(books, f"r{index}")
            took_s = time.monotonic() - began
            until(lambda: not shipper.up)
        finally:
            server.go_on()
        until(lambda: shipper.up and shipper.lag.frames == 0)
        writer = books.writer

    found = asyncio.run(made.run(f"SELECT request_id FROM modgate_usage WHERE writer = '{writer}'"))
    assert sorted(name for (name,) in found) == sorted(["before", *(f"r{n}" for n in range(300))])
    assert took_s < 1.0


def test_a_row_is_where_the_requests_own_calls_were_not_where_a_policy_asked() -> None:
    asked = msgspec.structs.replace(ANSWERED, call=-1, backend="guard", region="eu")
    cut = msgspec.structs.replace(ANSWERED, state="cancelled")
    row = end_row(ended_of(receipt("req_1", attempts=(asked, cut))), "w")

    assert (row.backend, row.region) == (cut.backend, cut.region)


def test_an_end_is_the_first_of_its_requests_rows_and_corrections_have_their_own_numbers() -> None:
    assert [(row.kind, row.sequence) for row in (END, ADJUST)] == [("end", 0), ("adjust", 1)]


def remove(folder: Path) -> None:
    (folder / "usage.sqlite").unlink()


def remove_all(folder: Path) -> None:
    for path in folder.glob("usage.sqlite*"):
        path.unlink()


def put_back_a_copy(folder: Path) -> None:
    shutil.copy(folder / "backup.sqlite", folder / "new.sqlite")
    (folder / "new.sqlite").rename(folder / "usage.sqlite")


@pytest.mark.parametrize("befalls", [remove, remove_all, put_back_a_copy])
def test_a_file_that_is_removed_or_replaced_gets_every_row_that_the_ledger_keeps(
    tmp_path: Path, befalls: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made, every = Sqlite(tmp_path), [f"r{number:02}" for number in range(40)]
    with (
        ledger(tmp_path / "ledger") as books,
        shipping(books, made.sink, deadline_s=1.0) as shipper,
    ):
        for name in every[:10]:
            request(books, name)
        until(lambda: shipper.rows == 10)
        backed_up(tmp_path)
        for name in every[10:30]:
            request(books, name)
        until(lambda: shipper.rows == 30)
        befalls(tmp_path)
        until(lambda: shipper.rows > 30 and shipper.lag.frames == 0)
        for name in every[30:]:
            request(books, name)
        until(lambda: shipper.lag.frames == 0)
        found = asyncio.run(made.run("SELECT request_id FROM modgate_usage ORDER BY request_id"))

    assert [name for (name,) in found] == every
    said = [getattr(each, "reason", "") for each in caplog.records if each.name.endswith("shipper")]
    assert said == ["", "usage.sqlite was removed or replaced; it is opened anew", ""]


async def test_a_copy_that_is_written_over_the_open_file_counts_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.sqlite_file.STILL_S", 0.0)
    made, rows = (
        Sqlite(tmp_path),
        [msgspec.structs.replace(END, request_id=f"r{n}") for n in range(60)],
    )
    sink = made.sink()
    await sink.open()
    await sink.write(Shipment(rows=rows[:10], cursor=cursor(10)))
    backed_up(tmp_path)
    await sink.write(Shipment(rows=rows[10:50], cursor=cursor(50)))
    await made.run("PRAGMA wal_checkpoint(TRUNCATE)")
    await sink.look()
    shutil.copy(tmp_path / "backup.sqlite", tmp_path / "usage.sqlite")
    with pytest.raises(SinkDown, match="removed or replaced; it is opened anew"):
        await sink.look()
    await sink.close()
    again = made.sink()
    [known] = await again.open()
    await again.write(Shipment(rows=rows[10:], cursor=cursor(60)))
    await again.close()

    assert known.offset == 10
    assert await made.run("SELECT count(*) FROM modgate_usage") == [(60,)]
    assert await made.run("PRAGMA integrity_check") == [("ok",)]
    assert (tmp_path / "usage.sqlite").stat().st_mode & 0o777 == 0o600


def backed_up(folder: Path) -> None:
    """What an operator's backup is: the file without what its journal has."""
    with closing(sqlite3.connect(folder / "usage.sqlite")) as db:
        db.execute("VACUUM INTO ?", (str(folder / "backup.sqlite"),))


def test_what_keeps_sqlite_from_taking_rows_is_told_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "usage.sqlite").write_bytes(
        b"no database, and long enough to be taken for one" * 20
    )
    with ledger(tmp_path / "ledger") as books, shipping(books, Sqlite(tmp_path).sink) as shipper:
        until(lambda: bool(shipper.error))

        assert shipper.error == "usage.sqlite: file is not a database"
