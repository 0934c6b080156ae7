"""A gateway that is killed while it drops a segment leaves a chain that says what went."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from rigs.ledger import KEY, ledger, notes_of, request

from modgate.ledger.chain_reader import ChainReader
from modgate.ledger.disk import Disk


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
