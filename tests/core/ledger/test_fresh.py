"""What was written a moment ago comes to sinks from memory; what is not there, from the disk."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from rigs.ledger import ledger, opened, request, stop_syncing
from rigs.sinks import Kept, Store, shipping, until

from modgate.ledger import disk, fresh
from modgate.ledger.disk import Position
from modgate.ledger.frames import Entry, Kind
from modgate.ledger.fresh import Fresh, Group
from modgate.ledger.tail import Piece, Tail
from modgate.ledger.writer import Ledger

BATCH = 1 << 20


class Reads:
    """How often shippers found something on the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pieces = 0
        real = Tail.read

        def read(tail: Tail, until: Position, at_most: int) -> Piece | None:
            piece = real(tail, until, at_most)
            self.pieces += piece is not None
            return piece

        monkeypatch.setattr(Tail, "read", read)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def at(offset: int) -> Position:
    return Position(1, offset, offset // 10, bytes([offset % 256]) * 16)


def entries(*names: str) -> list[Entry]:
    return [Entry(Kind.END, name.encode()) for name in names]


def group(*names: str) -> Group:
    made = Group()
    for each in entries(*names):
        made.add(each)
    return made


def ended(made: Ledger, *names: str) -> None:
    for name in names:
        request(made, name)


def test_a_sink_that_keeps_up_is_given_what_is_in_memory(tmp_path: Path, reads: Reads) -> None:
    store = Store()
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store), batch_bytes=BATCH) as ships:
        ended(made, "a")
        until(lambda: store.ids == {"a"} and ships.lag.frames == 0)
        before = reads.pieces
        for round_ in range(5):
            opened(made, f"open{round_}")
            ended(made, *(f"r{round_}.{index}" for index in range(20)))
            until(lambda: ships.lag.frames == 0)

        assert reads.pieces == before
    assert len(store.ids) == 101
    assert store.repeated == 0


def test_segments_that_end_in_between_make_no_difference(tmp_path: Path, reads: Reads) -> None:
    store = Store()
    with (
        ledger(tmp_path, segment_bytes=2_000) as made,
        shipping(made, lambda: Kept(store), batch_bytes=BATCH) as ships,
    ):
        ended(made, "a")
        until(lambda: ships.lag.frames == 0)
        before = reads.pieces
        for round_ in range(5):
            ended(made, *(f"r{round_}.{index}" for index in range(20)))
            until(lambda: ships.lag.frames == 0)

        assert reads.pieces == before
        assert made.position.segment > 5
        cursor = store.cursors[made.writer]
        assert (cursor.segment, cursor.offset, cursor.frames) == made.synced[:3]
        assert cursor.last == made.synced.last
    assert len(store.ids) == 101


def test_what_memory_lost_is_read_from_the_disk_and_then_memory_serves_again(
    tmp_path: Path, reads: Reads
) -> None:
    store = Store()
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store), batch_bytes=BATCH) as ships:
        ended(made, "a")
        until(lambda: ships.lag.frames == 0)
        store.down, made.fresh.bytes_at_most = True, 1_000
        for index in range(50):
            ended(made, f"r{index}")
            made.sync()
        store.down = False
        until(lambda: ships.lag.frames == 0)
        behind = reads.pieces
        made.fresh.bytes_at_most = fresh.BYTES_AT_MOST
        ended(made, "z")
        until(lambda: ships.lag.frames == 0)

        assert reads.pieces == behind > 0
    assert store.ids == {"a", "z", *(f"r{index}" for index in range(50))}


def test_a_group_that_the_disk_did_not_take_is_never_served_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger(tmp_path, sync_s=60.0) as made:
        until(lambda: made.synced == made.position)
        before = made.synced

        def fails(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        ended(made, "a")
        with monkeypatch.context() as broken:
            broken.setattr(disk.os, "fdatasync", fails)
            made.sync()
        assert made.retry()
        ended(made, "b")
        made.sync()

        assert made.fresh.after(before, BATCH) is None


def test_it_is_bounded_by_bytes_and_by_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "GROUPS_AT_MOST", 3)
    made = Fresh(bytes_at_most=10)
    for offset in (0, 10, 20, 30):
        made.synced(at(offset), group("abcd"), at(offset + 10))
    by_bytes = [made.after(at(offset), BATCH) for offset in (10, 20)]
    for offset in (40, 50, 60, 70):
        made.synced(at(offset), group(), at(offset + 10))

    assert by_bytes == [None, Piece(entries=entries("abcd", "abcd"), behind=at(40))]
    assert made.after(at(40), BATCH) is None
    assert made.after(at(50), BATCH) == Piece(entries=[], behind=at(80))


def test_a_batch_is_never_larger_than_was_asked_for() -> None:
    made = Fresh()
    made.synced(at(0), group("abcd"), at(10))
    made.synced(at(10), group("efgh"), at(20))

    assert made.after(at(0), 7) == Piece(entries=entries("abcd"), behind=at(10))
    assert made.after(at(0), 8) == Piece(entries=entries("abcd", "efgh"), behind=at(20))
    assert made.after(at(0), 3) is None


def test_groups_that_reach_the_disk_in_another_order_are_served_in_theirs() -> None:
    made = Fresh()
    made.synced(at(10), group("second"), at(20))
    early = made.after(at(0), BATCH)
    made.synced(at(0), group("first"), at(10))
    made.synced(at(20), group(), at(20))

    assert early is None
    assert made.after(at(0), BATCH) == Piece(entries=entries("first", "second"), behind=at(20))
    assert made.after(at(20), BATCH) is None


def test_what_comes_while_a_sync_waits_is_bounded_and_then_left_to_the_disk(
    tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    with ledger(tmp_path, sync_s=60.0) as made, shipping(made, lambda: Kept(store)) as ships:
        until(lambda: made.synced == made.position)
        monkeypatch.setattr(made._journal, "_entries", Group(at_most=1_000))
        ended(made, *(f"r{index}" for index in range(50)))
        held = made._journal._entries

        assert held.entries is None
        assert held.size < 2_000
        made.sync()
        until(lambda: ships.lag.frames == 0)
    assert store.ids == {f"r{index}" for index in range(50)}
    assert reads.pieces > 0


def test_only_what_is_on_disk_is_shipped(tmp_path: Path) -> None:
    """Else a sink would have what a power cut took from the ledger."""
    store = Store()
    with ledger(tmp_path) as made:
        stop_syncing(made)
        with shipping(made, lambda: Kept(store)):
            request(made, "a")
            made.sync()
            request(made, "b")
            until(lambda: store.ids == {"a"})
            time.sleep(0.1)

            assert store.ids == {"a"}
