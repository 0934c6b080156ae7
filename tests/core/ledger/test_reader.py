from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from rigs.ledger import KEY, WALL, Stopped, ledger, opened, receipt, request, segments

from modgate.api.secret import Secret
from modgate.ledger import reader
from modgate.ledger.frames import Kind, Tampered, Torn
from modgate.ledger.reader import adjustments, rows
from modgate.ledger.records import Adjusted
from modgate.ledger.segments import frames_of
from modgate.ledger.writer import Ledger


def three(directory: Path) -> None:
    """Three segments of one request each."""
    for name in "abc":
        with ledger(directory) as made:
            request(made, name)


def ends_of(segment: Path) -> list[int]:
    """The offsets behind the frames that end a request."""
    return [each.end for _, each in frames_of(segment, KEY) if each.kind is Kind.END]


def test_rows_come_in_the_order_of_their_ends(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        for name in ("a", "b"):
            opened(made, name)
        for name in ("b", "a"):
            made.ended(receipt(name))

        assert [row.id for row in rows(tmp_path, KEY)] == ["b", "a"]


def test_a_ledger_is_read_while_it_is_written(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        for count in range(1, 20):
            request(made, f"r{count}")
            assert sum(1 for _ in rows(tmp_path, KEY)) == count


@pytest.mark.parametrize("key", [KEY, None])
def test_the_frame_that_is_being_written_is_not_read_yet(
    tmp_path: Path, key: Secret | None
) -> None:
    three(tmp_path)
    newest = segments(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[: ends_of(newest)[-1] - 4])

    assert [row.id for row in rows(tmp_path, key)] == ["a", "b"]


def test_a_segment_that_was_cut_before_the_newest_is_not_passed_over(tmp_path: Path) -> None:
    three(tmp_path)
    middle = segments(tmp_path)[1]
    middle.write_bytes(middle.read_bytes()[:-4])

    with pytest.raises((Torn, Tampered)):
        list(rows(tmp_path, KEY))


def test_a_segment_that_is_missing_is_not_passed_over(tmp_path: Path) -> None:
    three(tmp_path)
    segments(tmp_path)[1].unlink()

    with pytest.raises(Tampered):
        list(rows(tmp_path, KEY))
    with pytest.raises(Tampered):
        list(rows(tmp_path))


def test_segments_that_changed_places_are_noticed(tmp_path: Path) -> None:
    three(tmp_path)
    first, second, _ = segments(tmp_path)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)

    with pytest.raises(Tampered):
        list(rows(tmp_path, KEY))


def test_an_empty_ledger_has_no_rows(tmp_path: Path) -> None:
    assert list(rows(tmp_path)) == []
    assert list(adjustments(tmp_path)) == []


def test_rows_and_corrections_of_several_workers_come_in_the_order_of_time(tmp_path: Path) -> None:
    for worker, ends in (("w1", (1, 5)), ("w2", (2, 3))):
        made = Ledger(tmp_path, KEY, Stopped(), worker=worker)
        for end in ends:
            ended = receipt(f"{worker}-{end}")
            made.ended(replace(ended, wall=WALL - end, duration_s=2.0 * end))
            made.adjusted(Adjusted(id=f"{worker}-{end}", sequence=1, wall=WALL + end, reason="x"))
        made.close()

    assert [row.id for row in rows(tmp_path, KEY)] == ["w1-1", "w2-2", "w2-3", "w1-5"]
    assert [each.id for each in adjustments(tmp_path, KEY)] == ["w1-1", "w2-2", "w2-3", "w1-5"]


def spread(directory: Path) -> None:
    """Three segments of one request each, ten seconds apart, written when it ended."""
    for at, name in enumerate("abc"):
        clock = Stopped(at * 10.0)
        made = Ledger(directory, KEY, clock)
        made.ended(replace(receipt(name), wall=clock.wall() - 20, duration_s=21.0))
        made.close()
    for at, path in enumerate(segments(directory)):
        os.utime(path, (WALL + at * 10 + 1,) * 2)


def test_segments_that_were_last_written_before_a_time_are_not_read(tmp_path: Path) -> None:
    spread(tmp_path)

    assert [row.id for row in rows(tmp_path, since=WALL + 1)] == ["a", "b", "c"]
    assert [row.id for row in rows(tmp_path, since=WALL + 11.5)] == ["b", "c"]


def test_the_newest_segment_is_read_whatever_its_time_says(tmp_path: Path) -> None:
    spread(tmp_path)

    assert [row.id for row in rows(tmp_path, since=WALL + 5000)] == ["c"]


def test_a_copy_whose_files_are_of_another_time_has_its_rows_all_the_same(tmp_path: Path) -> None:
    spread(tmp_path)
    for path in segments(tmp_path):
        os.utime(path, (1, 1))

    assert [row.id for row in rows(tmp_path, since=WALL + 11.5)] == ["b", "c"]


def test_a_segment_that_was_begun_while_the_clock_was_ahead_is_read_from_then_on(
    tmp_path: Path,
) -> None:
    """The clock was set back while it was written."""
    for name, at in (("ahead", 5000.0), ("b", 10.0)):
        with ledger(tmp_path, clock=Stopped(at)) as made:
            made.ended(replace(receipt(name), wall=WALL + at))
    for path in segments(tmp_path):
        os.utime(path, (WALL + 10,) * 2)

    assert [row.id for row in rows(tmp_path, since=WALL + 4000)] == ["ahead", "b"]


def test_a_segment_that_is_dropped_while_it_is_read_is_told_or_passed_over(tmp_path: Path) -> None:
    three(tmp_path)
    told, passing = rows(tmp_path, KEY), rows(tmp_path, KEY, passing_over=True)
    first = [next(told).id, next(passing).id]
    segments(tmp_path)[1].unlink()

    assert first == ["a", "a"]
    assert [row.id for row in passing] == ["c"]
    with pytest.raises(FileNotFoundError):
        next(told)


def test_a_segment_that_is_dropped_before_its_time_is_looked_at_is_as_one_dropped_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(tmp_path)
    listed = reader.segments

    def dropped(directory: Path, worker: str) -> dict[int, Path]:
        found = listed(directory, worker)
        next(iter(found.values())).unlink()
        return found

    monkeypatch.setattr(reader, "segments", dropped)

    passing = rows(tmp_path, KEY, since=WALL + 11.5, passing_over=True)
    assert [row.id for row in passing] == ["b", "c"]
    with pytest.raises(FileNotFoundError):
        list(rows(tmp_path, KEY, since=WALL + 11.5))
