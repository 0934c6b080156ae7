"""A power cut: writes since the last sync are gone, and files whose names were not synced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rigs.ledger import (
    KEY,
    Bounds,
    kill,
    ledger,
    let_go,
    notes_of,
    opened,
    receipt,
    request,
    segments,
    stop_syncing,
)

from modgate.ledger import disk as module
from modgate.ledger.gaps import gaps
from modgate.ledger.reader import rows
from modgate.ledger.segments import segment_name
from modgate.ledger.writer import Ledger


class Cache:
    """The kernel's cache of a disk: what was synced survives `cut`, all else does not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.synced: dict[int, int] = {}  # bytes by inode
        self.named: set[int] = set()
        self.sync, self.sync_all = os.fdatasync, os.fsync

    def fdatasync(self, fd: int) -> None:
        self.sync(fd)
        found = os.fstat(fd)
        self.synced[found.st_ino] = found.st_size

    def fsync(self, fd: int) -> None:
        self.sync_all(fd)
        self.named |= {path.stat().st_ino for path in segments(self.folder)}

    def cut(self) -> None:
        """The power goes, and comes back."""
        for path in segments(self.folder):
            inode = path.stat().st_ino
            if inode in self.named:
                os.truncate(path, self.synced.get(inode, 0))
            else:
                path.unlink()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    made = Cache(tmp_path)
    monkeypatch.setattr(module.os, "fdatasync", made.fdatasync)
    monkeypatch.setattr(module.os, "fsync", made.fsync)
    return made


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger whose thread has ended: the test says when a group goes to the disk."""
    with ledger(tmp_path, boot="before", segment_bytes=4_000) as opened_:
        stop_syncing(opened_)
        yield opened_
        let_go(opened_)


@pytest.mark.parametrize("synced", [0, 1, 7, 30, 60])
def test_a_power_cut_takes_what_was_not_synced_and_the_chain_says_how_much_it_may_be(
    tmp_path: Path, cache: Cache, made: Ledger, synced: int
) -> None:
    for index in range(60):
        if index == synced:
            made.sync()
        opened(made, f"r{index}")
        made.ended(receipt(f"r{index}"))
    if synced == 60:
        made.sync()
    cache.cut()
    let_go(made)
    with ledger(tmp_path, boot="after", sync_s=0.02) as again:
        assert again.recovered == 0

    assert [row.id for row in rows(tmp_path, KEY)] == [f"r{index}" for index in range(synced)]
    notes = [note for note in notes_of(tmp_path) if note.what == "recovered"]
    assert [(note.rebooted, note.sync_s) for note in notes] == [(True, 0.02)]


def test_a_request_whose_end_was_lost_with_the_power_is_billed_as_a_crash(
    tmp_path: Path, cache: Cache, made: Ledger
) -> None:
    opened(made, "r", tokens=40)
    made.touched("r", {"llm.output_tokens": 9})
    made.sync()
    made.ended(receipt("r", tokens=12))
    cache.cut()
    let_go(made)
    with ledger(tmp_path, boot="after"):
        pass

    [row] = rows(tmp_path, KEY)
    assert (row.ending, row.units["llm.output_tokens"]) == ("gateway_crash", 9)


def test_a_segment_that_every_sink_has_goes_once_its_note_is_on_the_disk(
    tmp_path: Path, cache: Cache, made: Ledger
) -> None:
    """A removal reaches the disk by itself; it needs no sync."""
    for index in range(60):
        opened(made, f"r{index}")
        made.ended(receipt(f"r{index}"))
    made.sync()
    before = {path.name for path in segments(tmp_path)}
    made.acknowledge("sink", made.position.segment)
    made._drop_acknowledged(-1e9)
    cache.cut()
    let_go(made)
    gone = before - {path.name for path in segments(tmp_path)}
    notes = [note for note in notes_of(tmp_path) if note.what == "dropped"]

    assert len(gone) > 1
    assert {segment_name("", note.segment) for note in notes} == gone


def test_a_drop_whose_note_the_power_took_is_told_by_the_next_start_alone(
    tmp_path: Path, cache: Cache
) -> None:
    bounds: Bounds = {"segment_bytes": 4_000, "max_bytes": 16_000, "on_full": "drop-oldest"}
    with ledger(tmp_path, boot="before", **bounds) as made:
        stop_syncing(made)
        while not made.dropped_segments:
            made.sync()
            request(made, "r")
        cache.cut()
        let_go(made)
    bounds["max_bytes"] *= 2  # so that no later drop, which is noted, explains it
    with ledger(tmp_path, boot="after", **bounds) as made:
        kill(made)
        with ledger(tmp_path, boot="later", **bounds):
            pass
        found = list(gaps(tmp_path, KEY))
    told = [gap for gap in found if gap.what == "missing"]

    assert segments(tmp_path)[0].name == segment_name("", 2)
    assert [(gap.lost, gap.text.partition(",")[0]) for gap in told] == [
        (True, "segment 1 was gone when the machine came up again")
    ]
