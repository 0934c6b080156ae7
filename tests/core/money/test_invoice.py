"""What rows come to, by whatever is asked."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rigs.ledger import WALL, receipt

from modgate.api.price import MICRO, Book, Case, Price
from modgate.api.sink import Attempt
from modgate.ledger.records import Ended, ended_of
from modgate.money import invoice
from modgate.money.invoice import (
    GROUPS,
    Span,
    Tariff,
    TooManyLines,
    decimal,
    money_by,
    stated,
    units_by,
    used_of,
)
from modgate.prices.books import Books
from modgate.prices.rating import Used
from modgate.units import Unit, UnitTable

UNITS = UnitTable.of({"llm": (Unit("output_tokens", "written", learned=True),)})
EURO_EACH = Case(prices={"llm.output_tokens": Price(pico=MICRO * MICRO, per=1)})
BOOK = Book(name="b", currency="EUR", effective=int(WALL), cases=(EURO_EACH,))
TARIFF = Tariff(Books((BOOK,)), UNITS)
TRIED = Attempt(call=0, backend="eu-1", region="eu", model="chat", began_s=0.0, span="", state="ok")


def row(name: str, *, later_s: float = 0.0, key: str = "k1", **what: object) -> Ended:
    made = replace(receipt(name, attempts=(TRIED,), **what), key_id=key)
    return ended_of(replace(made, wall=WALL + later_s))


def test_a_row_is_used_where_its_attempts_ran() -> None:
    used = used_of(row("a"))

    assert (used.region, used.model, used.slo, used.tenant) == ("eu", "chat", "gold", "acme")
    assert used_of(ended_of(receipt("b", attempts=(replace(TRIED, region=""),)))).region == ""
    assert used_of(replace(row("a"), attempts=[], region="us")).region == "us"


def test_a_reply_that_was_cut_was_served_where_it_was_relayed_from() -> None:
    def tried(call: int, region: str, state: str, *, said: bool, model: str = "chat") -> Attempt:
        first_s = 0.5 if said else None
        return replace(TRIED, call=call, region=region, state=state, model=model, first_s=first_s)

    def used(*attempts: Attempt) -> Used:
        return used_of(ended_of(receipt("a", attempts=attempts)))

    mute, cut = tried(0, "us", "failed", said=False), tried(0, "eu", "cancelled", said=True)
    spoilt = tried(0, "us", "failed", said=True)
    guard = tried(-1, "us", "ok", said=True, model="guard")
    other = tried(0, "eu", "failed", said=False, model="first")

    assert used(mute, cut).region == used(spoilt, cut).region == "eu"
    assert used(guard, cut).region == "eu"
    assert used(guard).region == used(guard, cut).region_of("guard") == "us"
    assert used(mute).region == "us"
    assert used(other, cut, guard).model_of("asr.audio_ms") == "guard"


def test_what_another_model_had_begun_before_one_took_its_place_served_nothing() -> None:
    """Of several calls side by side the first failed; the others had said something by then."""
    first = replace(TRIED, model="first", region="us")
    begun = replace(first, call=1, state="cancelled", first_s=0.5)  # its call 0 waited yet
    tried = (replace(first, state="failed"), begun, replace(first, call=2), TRIED)
    guard = replace(TRIED, call=-1, model="guard", region="us")
    mute = replace(guard, region="eu", state="failed")
    asked_here = replace(begun, model=TRIED.model)  # by the first model's plan

    stood_in = replace(receipt("a", attempts=tried), notes={"fallback_for": "first"})
    guarded = replace(stood_in, attempts=(mute, guard, *tried))
    mixed = replace(stood_in, attempts=(tried[0], asked_here, *tried[2:]))

    assert used_of(ended_of(stood_in)).region == used_of(ended_of(mixed)).region == "eu"
    assert used_of(ended_of(replace(stood_in, attempts=(begun, TRIED)))).region == "eu"
    assert used_of(ended_of(guarded)).region_of("guard") == "us"
    for known in (stood_in, guarded, mixed):
        kept = ended_of(replace(known, notes={}))  # as a sink keeps it
        assert used_of(kept) == used_of(ended_of(known))


def test_a_call_that_went_out_before_the_first_is_part_of_the_reply() -> None:
    """The first waited for an engine of its own; no other model took anybody's place."""
    tried = (replace(TRIED, call=1, region="us"), TRIED)

    assert used_of(ended_of(receipt("a", attempts=tried))).region == ""


def test_what_an_attempt_did_cost_by_itself_is_priced_where_that_one_ran() -> None:
    asked = {"llm.output_tokens": 3}
    apart = replace(TRIED, call=1, model="other", region="us", units=asked)
    used = used_of(ended_of(receipt("a", tokens=7, attempts=(TRIED, apart))))

    assert (used.region, used.region_of("other")) == ("eu", "us")
    assert used.tried[1].units == asked


def test_units_are_summed_by_every_group() -> None:
    rows = [row("a", tokens=7, exact=False), row("b", tokens=5), row("c", later_s=86_400)]
    found = units_by(rows, GROUPS)
    first = ("acme", "k1", "chat", "llm", "eu", "2026-01-01", "llm.output_tokens")

    assert (found[first].amount, found[first].requests, found[first].exact) == (12, 2, False)
    assert len(found) == 4


def test_money_is_the_sum_of_the_rows_and_what_is_unpriced_is_counted_apart() -> None:
    rows = [row("a", tokens=7), row("b", tokens=5, tenant="beta"), row("c", later_s=-1)]
    found = money_by(rows, ("tenant",), TARIFF)

    assert (found["acme",].micro, found["acme",].requests, found["acme",].unpriced) == (
        7 * MICRO,
        2,
        1,
    )
    assert (found["beta",].micro, found["beta",].unpriced) == (5 * MICRO, 0)


def test_a_statement_says_units_and_money_of_a_group_in_one() -> None:
    rows = [row("a", tokens=7, exact=False), row("b", tokens=5), row("c", later_s=-1), row("d")]
    found = stated(rows, ("day",), TARIFF)
    early, late = found["2025-12-31",], found["2026-01-01",]

    assert (late.requests, late.micro, late.unpriced, late.exact) == (3, 19 * MICRO, 0, False)
    assert (early.requests, early.micro, early.unpriced, early.exact) == (1, 0, 1, True)
    assert late.units["llm.output_tokens"] == 19


def test_a_span_is_of_whole_hours_also_where_it_has_no_end() -> None:
    assert Span.of(WALL, WALL + 3600).hours
    assert Span.of(WALL, None).hours
    assert not Span.of(WALL, WALL + 3601).hours
    assert not Span.of(WALL + 1, None).hours
    assert Span.of(None, None) == Span()


def test_the_number_of_groups_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoice, "LINES_AT_MOST", 2)
    rows = [row("a", key=str(at)) for at in range(3)]

    with pytest.raises(TooManyLines, match="more than 2 lines"):
        money_by(rows, ("key",), TARIFF)


def test_an_amount_is_shown_to_the_last_micro_unit() -> None:
    assert [decimal(n) for n in (0, 1, 1_000_000, 1_250_000, -1_000_001)] == [
        "0.000000",
        "0.000001",
        "1.000000",
        "1.250000",
        "-1.000001",
    ]
