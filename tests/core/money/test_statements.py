"""What tenants ask of their use: bounded in memory, in time, and to what is their own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from rigs.ledger import WALL, ledger, receipt, segments

from modgate.api.price import BUDGET
from modgate.api.shipment import Cursor, Shipment
from modgate.api.sink import Attempt
from modgate.errors import Overloaded, Refused
from modgate.ledger.records import Adjusted, ended_of
from modgate.ledger.rows import end_row
from modgate.ledger.sqlite_sink import SqliteConfig, SqliteSink
from modgate.money import statements
from modgate.money.invoice import Span, Tariff
from modgate.money.statements import Recent, Statements

TRIED = Attempt(0, "b", "eu", "chat", 0.0, "")
OWN, OTHER = f"req_{1:032x}", f"req_{2:032x}"
ADJUSTED = Adjusted(
    id=OWN,
    sequence=0,
    wall=WALL,
    reason="price",
    key_id="k1",
    model="chat",
    units={BUDGET: -3},
    began=WALL,
)


@contextmanager
def kept(folder: Path) -> Iterator[Statements]:
    made = Statements(folder, lambda: WALL)
    try:
        yield made
    finally:
        made.close()


def test_recent_receipts_are_bounded_by_number_and_by_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statements, "RECENT", 3)
    recent = Recent()
    for at in range(5):
        recent.observe(receipt(f"r{at}"))
    recent.observe(replace(receipt("refused"), admitted=False))
    recent.observe(replace(receipt("page"), modality=""))

    assert len(recent) == 3
    assert [recent.get(f"r{at}") is not None for at in range(5)] == [False] * 2 + [True] * 3
    monkeypatch.setattr(statements, "ATTEMPTS_AT_MOST", 3)
    for name in ("wide", "wider"):
        recent.observe(receipt(name, attempts=(TRIED, TRIED)))
    assert [recent.get(name) is not None for name in ("r4", "wide", "wider")] == [
        False,
        False,
        True,
    ]


async def test_a_row_is_its_tenants_whether_it_is_recent_or_old(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        made.ended(receipt(OWN))
    with kept(tmp_path) as asked:
        asked.recent.observe(receipt(OTHER, tenant="beta"))
        found = [
            await asked.receipt(OWN, "acme"),
            await asked.receipt(OWN, "beta"),
            await asked.receipt(OTHER, "beta"),
            await asked.receipt(OTHER, "acme"),
            await asked.receipt("req_1' or 1", "acme"),
        ]

    assert [row is not None for row in found] == [True, False, True, False, False]


async def test_a_row_that_only_the_sink_has_is_found_there(tmp_path: Path) -> None:
    with ledger(tmp_path / "ledger"):
        pass
    sink = SqliteSink(SqliteConfig(), folder=tmp_path)
    await sink.open()
    place = Cursor(writer="w", segment=1, offset=9, frames=1, last=b"", at=WALL)
    end = ended_of(receipt(OWN))
    await sink.write(Shipment(rows=[end_row(end, "w")], cursor=place))
    await sink.close()
    with kept(tmp_path / "ledger") as asked:
        assert await asked.receipt(OWN, "acme") == end


@pytest.mark.parametrize("moved", [False, True], ids=["its segment is there", "it was moved away"])
async def test_an_old_row_says_why_another_model_answered(tmp_path: Path, moved: bool) -> None:
    notes = {"fallback_for": "first", "fallback_on": "failed"}
    mine = replace(receipt(OWN, attempts=(TRIED,)), wall=time.time(), notes=notes)
    with ledger(tmp_path / "ledger") as made:
        made.ended(receipt(OTHER))
        made.ended(mine)
    sink = SqliteSink(SqliteConfig(), folder=tmp_path)
    await sink.open()
    place = Cursor(writer="w", segment=1, offset=9, frames=1, last=b"", at=WALL)
    await sink.write(Shipment(rows=[end_row(ended_of(mine), "w")], cursor=place))
    await sink.close()
    if moved:
        for path in segments(tmp_path / "ledger"):
            path.unlink()
    with kept(tmp_path / "ledger") as asked:
        row = await asked.receipt(OWN, "acme")

    assert row is not None
    assert (row.fallback_for, row.fallback_on) == ("first", "failed")
    assert (row.units, row.attempts) == (ended_of(mine).units, ended_of(mine).attempts)


async def test_only_so_many_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "WAITING_AT_MOST", 2)
    go = threading.Event()

    def slow(directory: Path, request_id: str, look: Callable[[], None]) -> None:
        go.wait(10)

    monkeypatch.setattr(statements, "find", slow)
    with kept(tmp_path) as asked:
        waiting = [asyncio.create_task(asked.receipt(OWN, "acme")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await asked.receipt(OWN, "acme")
        go.set()
        assert await asyncio.gather(*waiting) == [None, None]
        assert await asked.receipt(OWN, "acme") is None


async def test_what_takes_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "READ_S", -0.5)
    with ledger(tmp_path) as made:
        made.ended(receipt(OWN))
    with kept(tmp_path) as asked, pytest.raises(Refused, match="ask for a shorter time"):
        await asked.sums(Span(), ("model",), "acme", Tariff())


async def test_sums_are_of_one_tenant_and_so_are_corrections(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        made.ended(receipt(OWN, tokens=5))
        made.ended(receipt(OTHER, tokens=7, tenant="beta"))
        for sequence, tenant in enumerate(("acme", "beta", "acme")):
            made.adjusted(replace(ADJUSTED, sequence=sequence, tenant=tenant))
    with kept(tmp_path) as asked:
        found = await asked.sums(Span(), ("key", "model"), "acme", Tariff())

    assert {key: line.units["llm.output_tokens"] for key, line in found.items()} == {
        ("k1", "chat"): 5
    }
    assert found["k1", "chat"].adjusted == -6
