"""Reading on behind a writer that drops what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from rigs.ledger import KEY, calls_another_kind, ledger, request, segments

from modgate.api.secret import Secret
from modgate.ledger import tail as module
from modgate.ledger.disk import NOWHERE
from modgate.ledger.frames import Kind, Tampered
from modgate.ledger.rows import rows_of
from modgate.ledger.tail import Tail


def test_a_segment_that_is_dropped_while_it_is_read_is_not_called_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dropped(path: Path, offset: int, size: int) -> bytes:
        path.unlink()
        return b""

    monkeypatch.setattr(module, "_bytes", dropped)
    with ledger(tmp_path) as made:
        request(made, "r")
        tail = Tail(tmp_path, "", KEY, NOWHERE)

        with pytest.raises(FileNotFoundError):
            tail.read(made.position, 10_000)


@pytest.mark.parametrize("at_most", [1, 200, 700, 1 << 20])
def test_what_was_written_comes_once_and_in_order_in_pieces_of_any_size(
    tmp_path: Path, at_most: int
) -> None:
    with ledger(tmp_path, segment_bytes=2000) as made:
        tail, found, ends = Tail(tmp_path, "", KEY, NOWHERE), [], []
        for number in range(12):
            request(made, f"r{number}")
            ends.append(made.position)
        assert len(segments(tmp_path)) > 2
        for end in ends[3], ends[7], ends[-1]:
            while (piece := tail.read(end, at_most)) is not None:
                found += [row.request_id for row in rows_of(piece.entries, "w", None)]
                tail.done(piece)
            assert tail.position == end
            assert found == [f"r{number}" for number in range(ends.index(end) + 1)]


def test_a_segment_that_does_not_follow_the_one_before_it_is_told(tmp_path: Path) -> None:
    for folder in "ab":
        for name in "cd":
            with ledger(tmp_path / folder) as made:
                request(made, folder + name)
    ours, theirs = segments(tmp_path / "a"), segments(tmp_path / "b")
    tail = Tail(tmp_path / "a", "", None, NOWHERE)
    first = tail.read(made.position, 10_000)
    assert first is not None
    tail.done(first)
    ours[1].write_bytes(theirs[1].read_bytes())

    with pytest.raises(Tampered, match=ours[1].name):
        tail.read(made.position, 10_000)


@pytest.mark.parametrize("key", [KEY, None])
def test_a_frame_that_says_that_it_is_of_another_kind_becomes_no_row(
    tmp_path: Path, key: Secret | None
) -> None:
    with ledger(tmp_path) as made:
        request(made, "r")
        [file] = segments(tmp_path)
        begin = calls_another_kind(file, Kind.END, Kind.ADJUST)
        tail = Tail(tmp_path, "", key, NOWHERE)

        with pytest.raises(Tampered, match=f"at byte {begin} of {file.name}"):
            tail.read(made.position, 10_000)
