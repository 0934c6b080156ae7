"""A gateway that is killed while it drops a segment leaves a chain that says what went."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from rigs.ledger import KEY, Stopped, ledger, notes_of, request

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
        for index in range(requests):
            request(made, f"r{index}")
        made.acknowledge("sink", made.position.segment)
        made._drop_acknowledged(60.0)
    notes = [note for note in notes_of(tmp_path) if note.what == "dropped"]

    assert len({note.segment for note in notes}) == len(notes)
