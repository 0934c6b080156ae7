"""Corrections go where bills go: to every sink, and they are known when their segments are gone."""

from __future__ import annotations

import errno
import json
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rigs.ledger import KEY, ledger, receipt

from modgate.cli import main
from modgate.clock import SystemClock
from modgate.ledger.disk import Disk
from modgate.ledger.shipping import Shipping
from modgate.ledger.sqlite_sink import SqliteConfig, SqliteSink

FILE = """
[plugin.llm]
[price.first]
effective = 2026-01-01
currency = "EUR"
units = { "llm.output_tokens" = "1/1M" }
[price.second]
corrects = "first"
currency = "EUR"
units = { "llm.output_tokens" = "3/1M" }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file with a price that was wrong, and a ledger of two requests."""
    with ledger(tmp_path / "ledger", name="gw-1") as made:
        for name, regions in (("a", None), ("b", frozenset({"eu"}))):
            made.ended(replace(receipt(name, tokens=1000), regions=regions))
    (tmp_path / "key").write_text(KEY.reveal())
    path = tmp_path / "modgate.toml"
    key = f'[ledger]\nname = "gw-1"\nkey = {{ file = "{tmp_path / "key"}" }}\n'
    path.write_text(f'{FILE}[state]\ndirectory = "{tmp_path}"\n{key}')
    return path


def said(config: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, [*words, "--config", str(config)])
    assert result.exit_code == code, result.output
    return result.output


def in_the_sink(file: Path) -> list[tuple[object, ...]]:
    asked = """SELECT request_id, kind, sequence, json_extract(units, '$."money.micro"')
    FROM modgate_usage ORDER BY request_id, kind"""
    db = sqlite3.connect(file)
    try:
        return db.execute(asked).fetchall()
    finally:
        db.close()


def test_corrections_are_shipped_when_they_are_posted(config: Path) -> None:
    said(config, "rerate", "--post")

    rows = in_the_sink(config.parent / "usage.sqlite")
    assert rows == [("a", "adjust", 1, 2000), ("b", "adjust", 1, 2000)]
    assert "1 of 1 heads" in said(config, "ledger", "verify")


def test_corrections_are_known_when_their_segments_are_gone(config: Path) -> None:
    said(config, "rerate", "--post")
    for path in (config.parent / "ledger").glob("segment-rerate-*"):
        path.unlink()
    of = ("cost", "--by", "tenant", "--json", "--tenant")
    [line], nobody = (json.loads(said(config, *of, name)) for name in ("acme", "beta"))

    verified = said(config, "ledger", "verify", code=1)

    assert "none of that writer's segments is here" in verified
    assert (line["adjusted"], nobody) == ("0.004000", [])
    assert said(config, "rerate").startswith("0 corrections")


def test_a_sink_that_is_down_is_told_and_has_them_the_next_time(config: Path) -> None:
    file = config.parent / "elsewhere" / "usage.sqlite"
    sink = f'[[ledger.sink]]\nkind = "sqlite"\npath = "{file}"\n'
    config.write_text(config.read_text() + sink)
    first = said(config, "rerate", "--post", code=1)
    file.parent.mkdir()
    second = said(config, "rerate", "--post")

    assert "2 corrections, 0.004000 EUR: not all posted" in first
    assert "the sink sqlite does not have all of them" in " ".join(first.split())
    assert second == "0 corrections, 0.000000 EUR: posted\n"
    assert len(in_the_sink(file)) == 2


def test_a_correction_stays_in_the_regions_of_its_bill_wherever_that_was_read(
    config: Path, tmp_path: Path
) -> None:
    here, abroad = tmp_path / "usage.sqlite", tmp_path / "abroad.sqlite"
    sinks = "".join(
        f'[[ledger.sink]]\nkind = "sqlite"\npath = "{path}"\nregion = "{region}"\n'
        for path, region in ((here, "eu"), (abroad, "us"))
    )
    config.write_text(config.read_text() + sinks)
    with ledger(tmp_path / "ledger") as made:
        made.close()
        sink = partial(SqliteSink, SqliteConfig(), folder=tmp_path)
        Shipping.of({"sqlite": (sink, "eu", "")}, made, KEY, SystemClock()).close(20)
    said(config, "rerate", "--post")

    assert [row[:2] for row in in_the_sink(here)] == [
        *(("a", "adjust"), ("a", "end")),
        *(("b", "adjust"), ("b", "end")),
    ]
    assert [row[:2] for row in in_the_sink(abroad)] == [("a", "adjust")]


def test_what_the_disk_did_not_take_is_not_called_posted(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, taken = Disk.append, 0

    def full(disk: Disk, data: bytes) -> None:
        nonlocal taken
        if disk.worker and (taken := taken + 1) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(disk, data)

    with monkeypatch.context() as patched:
        patched.setattr(Disk, "append", full)
        first = said(config, "rerate", "--post", code=1)

    assert "2 corrections, 0.004000 EUR: not all posted" in first
    assert said(config, "rerate", "--post") == "1 corrections, 0.002000 EUR: posted\n"
    assert len(in_the_sink(config.parent / "usage.sqlite")) == 2
