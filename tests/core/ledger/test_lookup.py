"""One request's row by its id, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rigs.ledger import ledger, opened, receipt, request, segments

from modgate.ledger import lookup
from modgate.ledger.lookup import find, written_at

IDS = [f"req_{at:032x}" for at in range(30)]


def nothing() -> None:
    """There is time."""


@pytest.mark.parametrize("read_bytes", [64, 1000, 1 << 20])
def test_every_row_of_every_segment_is_found_however_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    monkeypatch.setattr(lookup, "READ_BYTES", read_bytes)
    with ledger(tmp_path, segment_bytes=2000) as made:
        for at, name in enumerate(IDS):
            request(made, name, tokens=at)
        found = [find(tmp_path, name, nothing) for name in IDS]
    open_files = len(os.listdir("/proc/self/fd"))

    assert find(tmp_path, IDS[-1], nothing) == found[-1]
    assert len(os.listdir("/proc/self/fd")) == open_files
    assert len(segments(tmp_path)) > 3
    assert [row.units.get("llm.output_tokens", 0) for row in found if row is not None] == [
        *range(len(IDS))
    ]


def test_of_a_time_only_the_segments_are_searched_that_were_written_then(tmp_path: Path) -> None:
    with ledger(tmp_path, segment_bytes=2000) as made:
        for name in IDS:
            request(made, name)
    paths = segments(tmp_path)
    for at, path in enumerate(paths, 1):
        os.utime(path, (at * 1000.0, at * 1000.0))  # each was written to its end at that time

    assert written_at(tmp_path, 1.0) == paths[:1]
    assert written_at(tmp_path, 1500.0) == paths[1:2]
    assert written_at(tmp_path, 2000.0) == written_at(tmp_path, 2030.0) == paths[1:3]
    assert written_at(tmp_path, 1e9) == []
    assert find(tmp_path, IDS[0], nothing, ended=999.0) == find(tmp_path, IDS[0], nothing)
    assert find(tmp_path, IDS[0], nothing, ended=1500.0) is None


def test_a_request_that_runs_has_no_row_yet(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        opened(made, IDS[0])
        made.touched(IDS[0], {"llm.output_tokens": 1})

        assert find(tmp_path, IDS[0], nothing) is None
        assert find(tmp_path, IDS[1], nothing) is None


def test_what_only_looks_like_a_row_is_none(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        made.ended(receipt(IDS[0]))
    path = segments(tmp_path)[0]
    data = path.read_bytes()
    path.write_bytes(data.replace(b"acme", b"evil"))

    assert find(tmp_path, IDS[0], nothing) is None


def test_looking_is_given_up_when_it_is_told_to(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, IDS[0])

    def enough() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        find(tmp_path, IDS[1], enough)
