"""Several writers in one directory, each with a chain of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rigs.ledger import KEY, Stopped, kill, ledger, notes_of, opened, receipt, request

from modgate.ledger.adopt import end_what_others_left
from modgate.ledger.chain_lock import ChainLocked
from modgate.ledger.identity import writer_id
from modgate.ledger.reader import rows
from modgate.ledger.segments import workers


def test_workers_write_side_by_side_and_all_of_it_is_read(tmp_path: Path) -> None:
    with ledger(tmp_path, worker="w1") as one, ledger(tmp_path, worker="w2") as two:
        for index in range(10):
            request(one, f"a{index}")
            request(two, f"b{index}")

    assert workers(tmp_path) == ["w1", "w2"]
    assert {row.id for row in rows(tmp_path, KEY)} == {
        f"{front}{index}" for front in "ab" for index in range(10)
    }


def test_a_chain_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        ledger(tmp_path, worker="w1"),
        ledger(tmp_path, worker="w2"),
        pytest.raises(ChainLocked),
        ledger(tmp_path, worker="w1"),
    ):
        pass
    with ledger(tmp_path, worker="w1"):
        pass


def test_what_a_worker_that_is_gone_left_open_is_ended_by_another(tmp_path: Path) -> None:
    with ledger(tmp_path, worker="w1") as one:
        opened(one, "cut off")
    with ledger(tmp_path, worker="w2") as two, ledger(tmp_path, worker="w3") as alive:
        opened(two, "own")
        opened(alive, "living")
        ended = end_what_others_left(tmp_path, KEY, Stopped(), own="w2")

        assert ended == 1
        assert [(row.id, row.ending) for row in rows(tmp_path, KEY)] == [
            ("cut off", "gateway_crash")
        ]


def test_a_writer_keeps_its_id_and_a_new_directory_has_another(tmp_path: Path) -> None:
    ids = []
    for folder in ("a", "a", "b"):
        with ledger(tmp_path / folder, name="gw-1") as made:
            ids.append(made.writer)

    assert ids[0] == ids[1] != ids[2]
    assert all(each.startswith("gw-1.") for each in ids)


def test_the_id_of_a_segment_of_the_version_before_is_replaced() -> None:
    assert writer_id("4711", "gw", "w2").startswith("gw-w2.")


def test_an_orderly_end_leaves_nothing_to_say_and_a_crash_does(tmp_path: Path) -> None:
    for _ in range(2):
        with ledger(tmp_path) as made:
            request(made, "r")
    assert [note.what for note in notes_of(tmp_path)] == ["closed", "closed"]


@pytest.mark.parametrize(("boot", "rebooted"), [("one", False), ("two", True)])
def test_a_crash_is_noted_with_what_it_may_have_lost(
    tmp_path: Path, boot: str, rebooted: bool
) -> None:
    with ledger(tmp_path, boot="one") as made:
        opened(made, "r")
        kill(made)
    with ledger(tmp_path, boot=boot, sync_s=0.5):
        pass

    noted = next(note for note in notes_of(tmp_path) if note.what == "recovered")
    assert (noted.crashed, noted.segment, noted.sync_s) == (1, 1, 0.5)
    assert noted.rebooted is rebooted
    assert noted.until > 0


def test_one_whose_directory_was_lost_writes_no_more_where_another_began(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "ledger"
    with ledger(folder) as first:
        request(first, "a")
        shutil.rmtree(folder)
        first._look_for_a_removed_segment()
        with ledger(folder) as second:
            request(second, "b")
            first.ended(receipt("a late one"))
            assert not first.retry()
            refused = first.refusal
        again = first.retry()

    assert refused == "the gateway takes no requests: another one writes its ledger"
    assert not again
    said = [each.message for each in caplog.records if each.levelname == "ERROR"]
    assert said[:2] == ["ledger does not write"] * 2
    assert [row.id for row in rows(folder, KEY)] == ["b"]


def test_a_lock_that_was_taken_away_is_taken_again(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        (tmp_path / "lock").unlink()
        made._look_for_a_removed_segment()
        request(made, "a")
        with pytest.raises(ChainLocked), ledger(tmp_path):
            pass

    assert [row.id for row in rows(tmp_path, KEY)] == ["a"]
