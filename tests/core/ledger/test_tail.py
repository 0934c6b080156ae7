"""Reading on behind a writer that drops what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from rigs.ledger import KEY, ledger, request

from modgate.ledger import tail as module
from modgate.ledger.disk import NOWHERE
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
