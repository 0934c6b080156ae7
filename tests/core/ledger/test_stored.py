"""Sink and ledger as one: every request once, however far shipping has come."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace
from rigs.ledger import KEY, WALL, ledger, receipt

from modgate.api.shipment import Cursor, Shipment
from modgate.api.sink import Attempt
from modgate.ledger.frames import Kind
from modgate.ledger.reader import rows
from modgate.ledger.records import Adjusted, Ended, Opened
from modgate.ledger.rows import rows_of
from modgate.ledger.segments import frames_of, segments
from modgate.ledger.sqlite_sink import FILE, SCHEMA_VERSION, SqliteConfig, SqliteSink
from modgate.ledger.stored import NotRead, whole
from modgate.money.invoice import used_of

TRIED = Attempt(
    call=0,
    backend="eu-1",
    region="eu",
    model="chat",
    began_s=0.5,
    span="s",
    ended_s=1.0,
    state="ok",
)


KEPT_TO = (None, frozenset({"eu", 'a "b" c'}), frozenset[str]())


def written(folder: Path, count: int) -> list[Ended]:
    with ledger(folder / "ledger") as made:
        for at in range(count):
            tenant = "beta" if at % 3 == 0 else "acme"
            each = receipt(f"r{at}", tenant=tenant, tokens=at, attempts=(TRIED,))
            made.ended(replace(each, wall=WALL + at, regions=KEPT_TO[at % len(KEPT_TO)]))
    return list(rows(folder / "ledger", KEY))


PLACE = Cursor(writer="w", segment=1, offset=9, frames=0, last=b"", at=WALL)


async def shipped(
    folder: Path, count: int, kind: Kind = Kind.END, *, place: Cursor = PLACE
) -> None:
    """The first so many rows, as the shipper hands them over."""
    paths = segments(folder / "ledger").values()
    frames = (each for path in paths for _, each in frames_of(path, KEY))
    entries = [each for each in frames if each.kind is kind][:count]
    sink = SqliteSink(SqliteConfig(), folder=folder)
    await sink.open()
    await sink.write(Shipment(rows=list(rows_of(entries, "w")), cursor=place))
    await sink.close()


async def test_what_was_not_shipped_is_there_also_if_the_clock_was_ahead_when_others_were(
    tmp_path: Path,
) -> None:
    for at in range(4):
        with ledger(tmp_path / "ledger") as made:
            made.ended(replace(receipt(f"r{at}"), wall=WALL + at))
    ahead = WALL + 86_400.0
    place = Cursor(writer=made.writer, segment=2, offset=9, frames=0, last=b"", at=ahead)
    await shipped(tmp_path, 1, place=place)
    every = list(rows(tmp_path / "ledger", KEY))
    paths = segments(tmp_path / "ledger")
    paths[1].write_bytes(paths[1].read_bytes()[:-1])  # so it is not read again
    for path in paths.values():
        os.utime(path, (WALL, WALL))
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every


async def test_of_a_ledger_that_ends_before_what_the_sink_saw_all_is_read(tmp_path: Path) -> None:
    """An older copy was put back, and goes on under numbers that the sink knows."""
    for at in range(3):
        with ledger(tmp_path / "ledger") as made:
            made.ended(replace(receipt(f"r{at}"), wall=WALL + at))
    every = list(rows(tmp_path / "ledger", KEY))
    await shipped(tmp_path, 1, place=replace(PLACE, writer=made.writer, segment=4))
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every


@pytest.mark.parametrize("count", [0, 1, 7, 20])
async def test_each_row_is_there_once_and_the_same(tmp_path: Path, count: int) -> None:
    every = written(tmp_path, 20)
    await shipped(tmp_path, count)
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every
        assert list(both.rows(WALL + 3, WALL + 9)) == every[3:9]
        assert list(both.rows(tenant="beta")) == [each for each in every if each.tenant == "beta"]
        assert both.stored is not None
        assert [both.stored.find(row.id) for row in every[:count]] == every[:count]
        assert both.stored.find("other") is None


async def test_rows_come_in_the_order_of_their_ends_wherever_they_are(tmp_path: Path) -> None:
    with ledger(tmp_path / "ledger") as made:
        made.ended(replace(receipt("short"), wall=WALL + 5, duration_s=1.0))
        made.ended(replace(receipt("long"), wall=WALL, duration_s=10.0))
    await shipped(tmp_path, 1)
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert [row.id for row in both.rows()] == ["short", "long"]


async def test_what_is_shipped_while_it_is_read_is_there_once(tmp_path: Path) -> None:
    every = written(tmp_path, 8)
    await shipped(tmp_path, 2)
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        found = both.rows()
        first = next(found)
        await shipped(tmp_path, 8)

        assert [first, *found] == every


@pytest.mark.parametrize("count", [0, 2, 5])
async def test_each_correction_is_there_once_and_in_the_time_of_its_request(
    tmp_path: Path, count: int
) -> None:
    every = [
        Adjusted(
            id=f"r{at // 2}",
            sequence=1 + at % 2,
            wall=WALL + 100 + at,
            reason="price",
            tenant="beta" if at == 3 else "acme",
            note="why",
            units={"money.micro": -at},
            began=WALL + at // 2,
            region="eu",
        )
        for at in range(6)
    ]
    with ledger(tmp_path / "ledger") as made:
        for each in every:
            made.adjusted(each)
    await shipped(tmp_path, count, Kind.ADJUST)
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.adjustments()) == every
        assert list(both.adjustments(WALL + 1, WALL + 2)) == every[2:4]
        assert list(both.adjustments(tenant="beta")) == [every[3]]


async def test_of_the_writers_the_one_that_is_behind_says_what_is_not_shipped_yet(
    tmp_path: Path,
) -> None:
    for at in (10, 20):
        with ledger(tmp_path / "ledger") as made:
            made.ended(replace(receipt(f"r{at}"), wall=WALL + at))
    for path in segments(tmp_path / "ledger").values():
        os.utime(path, (WALL + 20,) * 2)
    await shipped(tmp_path, 0)
    sink = SqliteSink(SqliteConfig(), folder=tmp_path)
    await sink.open()
    ahead = Cursor(writer="v", segment=1, offset=9, frames=1, last=b"", at=WALL + 5000)
    await sink.write(Shipment(rows=[], cursor=ahead))
    await sink.close()
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert [row.id for row in both.rows()] == ["r10", "r20"]


async def test_what_was_shipped_stays_when_its_segment_is_gone(tmp_path: Path) -> None:
    every = written(tmp_path, 5)
    await shipped(tmp_path, 5)
    for path in segments(tmp_path / "ledger").values():
        path.unlink()
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every


async def test_what_a_crash_cut_was_where_its_open_frame_says(tmp_path: Path) -> None:
    with ledger(tmp_path / "ledger") as made:
        made.opened(Opened(v=1, id="cut", wall=WALL, tenant="acme", model="chat", region="eu"))
    with ledger(tmp_path / "ledger"):
        pass
    every = list(rows(tmp_path / "ledger", KEY))
    await shipped(tmp_path, 1)
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every

    assert [used_of(row).region for row in every] == ["eu"]


async def test_tables_of_the_next_version_are_read_as_they_are_written(tmp_path: Path) -> None:
    every = written(tmp_path, 5)
    await shipped(tmp_path, 3)
    db = sqlite3.connect(tmp_path / FILE)
    db.executescript(
        "ALTER TABLE modgate_usage ADD COLUMN later TEXT DEFAULT '';"
        f"PRAGMA user_version = {SCHEMA_VERSION + 1}"
    )
    db.close()
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every


def test_without_a_sink_it_is_the_ledger(tmp_path: Path) -> None:
    every = written(tmp_path, 3)
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every


def test_a_file_that_is_no_sink_is_told(tmp_path: Path) -> None:
    written(tmp_path, 1)
    (tmp_path / FILE).write_bytes(b"no database, and long enough to be taken for one" * 20)
    with (
        pytest.raises(NotRead, match="cannot be read"),
        whole(tmp_path / "ledger", tmp_path / FILE),
    ):
        raise AssertionError
    (tmp_path / FILE).unlink()
    newer = sqlite3.connect(tmp_path / FILE)
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 2}")
    newer.close()
    with (
        pytest.raises(NotRead, match=f"version {SCHEMA_VERSION + 2};"),
        whole(tmp_path / "ledger", tmp_path / FILE),
    ):
        raise AssertionError


def test_a_sink_that_is_being_made_has_nothing_yet(tmp_path: Path) -> None:
    every = written(tmp_path, 2)
    (tmp_path / FILE).touch()
    with whole(tmp_path / "ledger", tmp_path / FILE) as both:
        assert list(both.rows()) == every
