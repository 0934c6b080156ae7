"""A gateway that is killed while it drops a segment leaves a chain that says what went."""

from __future__ import annotations

import errno
import os
import shutil
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random

import pytest
from rigs.ledger import (
    KEY,
    Stopped,
    ledger,
    let_go,
    notes_of,
    receipt,
    request,
    segments,
    stop_syncing,
)

from modgate.ledger import disk as module
from modgate.ledger.chain_reader import ChainReader
from modgate.ledger.disk import Disk
from modgate.ledger.gaps import gaps


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the disk held right before and right after each removal of a segment."""
    kept: list[Path] = []
    drop = Disk.drop

    def dropped(disk: Disk, number: int) -> None:
        for act in (lambda: None, lambda: drop(disk, number)):
            act()
            kept.append(tmp_path / f"moment{len(kept)}")
            shutil.copytree(disk.directory, kept[-1])

    with monkeypatch.context() as patched:
        patched.setattr(Disk, "drop", dropped)
        with ledger(
            tmp_path / "live", segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest"
        ) as made:
            for index in range(60):
                request(made, f"r{index}")
    return kept


def proven(directory: Path) -> int:
    """How many frames there are; Broken for a chain that is not what its writer wrote."""
    return sum(1 for _ in ChainReader(directory, "", KEY).read())


def test_whenever_it_is_killed_the_chain_proves_what_is_there(moments: list[Path]) -> None:
    assert len(moments) > 6
    assert all(proven(each) for each in moments)


def test_what_a_kill_left_goes_with_the_next_and_is_counted_once(moments: list[Path]) -> None:
    for moment in moments:
        with ledger(moment, segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest") as made:
            for index in range(40):
                request(made, f"s{index}")
            lost = made.dropped_unacknowledged
        notes = [note for note in notes_of(moment) if note.what == "dropped"]
        numbers = [note.segment for note in notes]

        assert proven(moment)
        assert len(set(numbers)) == len(numbers)
        assert lost == notes[-1].missed
        assert all(b.missed - a.missed == b.frames for a, b in pairwise(notes))


@pytest.mark.parametrize(("max_bytes", "requests"), [(6_000, 7), (8_000, 10), (9_000, 14)])
def test_a_segment_that_went_for_the_note_of_another_is_noted_once(
    tmp_path: Path, max_bytes: int, requests: int
) -> None:
    """Starts leave small segments, of which several go for the one that the note begins."""
    clock = Stopped(10**9)  # far behind the files' own times
    for _ in range(6):
        with ledger(tmp_path, clock=clock):
            pass
    with ledger(
        tmp_path, segment_bytes=2_000, max_bytes=max_bytes, on_full="drop-oldest", clock=clock
    ) as made:
        stop_syncing(made)
        for index in range(requests):
            request(made, f"r{index}")
        made.acknowledge("sink", made.position.segment)
        made._drop_acknowledged(60.0)
        let_go(made)
    notes = [note for note in notes_of(tmp_path) if note.what == "dropped"]

    assert len({note.segment for note in notes}) == len(notes)


def test_what_a_kill_left_is_told_as_what_it_is(moments: list[Path]) -> None:
    told = [gap for moment in moments[::2] for gap in gaps(moment, KEY) if not gap.lost]

    assert len(told) == len(moments) // 2
    assert all(gap.text.endswith("was to be dropped, and is still here") for gap in told)


def test_a_segment_whose_note_the_disk_did_not_take_stays_until_it_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = os.write, list[bytes]()

    def write(fd: int, data: bytes) -> int:
        if b"dropped" in data and not failed:
            failed.append(data)
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, data)

    monkeypatch.setattr(module.os, "write", write)
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=12_000, on_full="drop-oldest") as made:
        while made.dropped_segments < 3:
            request(made, "r")
            assert made.retry()
    notes = [note for note in notes_of(tmp_path) if note.what == "dropped"]

    assert failed
    assert [note.segment for note in notes] == [1, 2, 3]
    assert [note.missed for note in notes] == list(accumulate(note.frames for note in notes))
    assert segments(tmp_path)[0].name == "segment-00000004.ledger"


@pytest.mark.parametrize("seed", range(0, 120, 6))
def test_whatever_the_disk_refuses_what_went_is_noted_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Errors, and a disk that is full, meet frames, heads of segments, and the notes themselves."""
    real, lots, share = os.write, Random(seed), 0.0

    def write(fd: int, data: bytes) -> int:
        if lots.random() >= share:
            return real(fd, data)
        if lots.random() < 0.3:
            return real(fd, data[: len(data) // 2])
        number = lots.choice([errno.EIO, errno.ENOSPC])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.os, "write", write)
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=8_000, on_full="drop-oldest") as made:
        share = 0.1
        for _ in range(100):
            if made.retry():
                made.ended(receipt("r", tokens=7))
            if lots.random() < 0.05:
                made.acknowledge("sink", made.position.segment - lots.randint(0, 3))
        share = 0.0
        assert made.retry()
    notes = [note for note in notes_of(tmp_path) if note.what == "dropped"]
    lost = [0 if note.acknowledged else note.frames for note in notes]

    assert proven(tmp_path)
    assert notes[-1].missed == made.dropped_unacknowledged
    assert [b.missed - a.missed for a, b in pairwise(notes)] == lost[1:]
    assert len({note.segment for note in notes}) == len(notes)
