"""Reading on behind a writer that drops what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from rigs.ledger import KEY, calls_another_kind, ledger, request, segments

from modgate.api.secret import Secret
from modgate.ledger import tail as module
from modgate.ledger.disk import NOWHERE
from modgate.ledger.frames import Kind, Tampered
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
