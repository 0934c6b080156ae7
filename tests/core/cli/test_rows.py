"""What the commands that read a ledger do while a gateway drops segments of it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from rigs.ledger import ledger, request, segments

from modgate.cli.rows import TRIES, asked
from modgate.ledger.stored import Whole


def three(directory: Path) -> None:
    """Three segments of one request each."""
    for name in "abc":
        with ledger(directory) as made:
            request(made, name)


def test_a_sum_begins_anew_where_a_segment_is_dropped_beneath_it(tmp_path: Path) -> None:
    three(tmp_path)

    def ask(whole: Whole) -> list[str]:
        found = whole.rows()
        ids = [next(found).id]
        for dropped in segments(tmp_path)[:-1]:
            dropped.unlink()
        return ids + [row.id for row in found]

    assert asked(tmp_path, ask) == ["c"]


def test_a_ledger_that_is_dropped_faster_than_it_is_read_is_told(tmp_path: Path) -> None:
    three(tmp_path)
    asks = []

    def ask(_: Whole) -> None:
        asks.append(1)
        raise FileNotFoundError

    with pytest.raises(click.ClickException, match="dropped faster than they are read"):
        asked(tmp_path, ask)
    assert len(asks) == TRIES
