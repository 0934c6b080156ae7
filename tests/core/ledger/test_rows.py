"""The rows that sinks get: whose engine stands for a request, and which rows may go where."""

from __future__ import annotations

import msgspec
import pytest
from rigs.ledger import WALL

from modgate.api.json import JsonObject
from modgate.ledger.frames import Entry, Kind
from modgate.ledger.records import Adjusted, Ended, Noted
from modgate.ledger.rows import adjust_row, end_row, rows_of


def ended(*attempts: JsonObject, regions: tuple[str, ...] | None = None) -> Ended:
    return Ended(
        v=1,
        id="r",
        wall=WALL,
        ending="ok",
        status=200,
        tenant="acme",
        key_id="k",
        model="chat",
        modality="llm",
        attempts=list(attempts),
        region="home",
        regions=regions,
    )


def attempt(backend: str, *, call: int = 0, state: str = "ok") -> JsonObject:
    return {"call": call, "backend": backend, "region": f"of {backend}", "state": state}


@pytest.mark.parametrize(
    ("attempts", "backend"),
    [
        ([attempt("a", state="failed"), attempt("b")], "b"),
        ([attempt("a"), attempt("b", state="failed")], "a"),
        ([attempt("a"), attempt("b", call=1)], "b"),
        ([attempt("a", state="failed"), attempt("b", state="failed")], "b"),
        ([attempt("side", call=-1), attempt("a", state="failed")], "a"),
        ([attempt("a"), attempt("side", call=-1)], "a"),
        ([attempt("side", call=-1, state="failed"), attempt("side", call=-2)], "side"),
    ],
)
def test_the_last_attempt_of_its_own_that_went_well_stands_for_a_request(
    attempts: list[JsonObject], backend: str
) -> None:
    row = end_row(ended(*attempts), "w")

    assert (row.backend, row.region) == (backend, f"of {backend}")


def test_a_request_without_an_attempt_has_no_backend_and_its_own_region() -> None:
    row = end_row(ended(), "w")

    assert (row.backend, row.region) == ("", "home")


@pytest.mark.parametrize(("began", "in_time_of"), [(WALL - 9.0, WALL - 9.0), (0.0, WALL)])
def test_a_correction_counts_in_the_time_of_its_request(began: float, in_time_of: float) -> None:
    row = adjust_row(Adjusted(id="r", sequence=1, wall=WALL, reason="x", began=began), "w")

    assert (row.began, row.ended) == (in_time_of, WALL)


def test_a_correction_says_whose_and_of_what_it_is_and_why() -> None:
    said = {
        **{"reason": "price", "note": "by b in place of a", "region": "eu", "tenant": "acme"},
        **{"key_id": "k", "model": "chat", "modality": "llm", "units": {"money.micro": -3}},
    }
    made = msgspec.convert({"id": "r", "sequence": 4, "wall": WALL, **said}, Adjusted)
    row = adjust_row(made, "w")

    assert {name: getattr(row, name) for name in said} == said
    assert (row.kind, row.request_id, row.sequence, row.writer) == ("adjust", "r", 4, "w")


@pytest.mark.parametrize(("region", "seen"), [(None, 6), ("eu", 4), ("us", 2), ("", 2)])
def test_only_rows_that_may_lie_in_a_region_go_there(region: str | None, seen: int) -> None:
    entries = [Entry(Kind.ANCHOR, msgspec.msgpack.encode(Noted(wall=WALL, what="closed")))]
    for regions in (None, ("eu",), ("asia",)):
        adjusted = Adjusted(id="r", sequence=1, wall=WALL, reason="x", regions=regions)
        entries.append(Entry(Kind.END, msgspec.msgpack.encode(ended(regions=regions))))
        entries.append(Entry(Kind.ADJUST, msgspec.msgpack.encode(adjusted)))
    kinds = [row.kind for row in rows_of(entries, "w", region)]

    assert sorted(kinds) == ["adjust"] * (seen // 2) + ["end"] * (seen // 2)
