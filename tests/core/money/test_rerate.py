"""A wrong price is put right by rows that add up, whatever is corrected, and however often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rigs.ledger import WALL, receipt

from modgate.api.price import BUDGET, MICRO, Book, Case, Price
from modgate.api.sink import Attempt
from modgate.ledger.records import Adjusted, Ended, ended_of
from modgate.money.invoice import MoneyLine, Tariff, add_adjusted, money_by
from modgate.money.rerate import differences, posted
from modgate.prices.books import Books
from modgate.units import Unit, UnitTable

UNITS = UnitTable.of({"llm": (Unit("output_tokens", "written"),)})
TRIED = Attempt(call=0, backend="eu-1", region="eu", model="chat", began_s=0.0, span="", state="ok")
RECEIPTS = [receipt(f"r{at}", tokens=at, attempts=(TRIED,)) for at in range(5)]
ROWS = [ended_of(replace(each, regions=frozenset({"eu"}))) for each in RECEIPTS]


def tariff(*micros: int | None) -> Tariff:
    """A book and its corrections, each with a price in micro-units; None prices nothing."""
    books, before = [], ""
    for at, micro in enumerate(micros):
        prices = {} if micro is None else {"llm.output_tokens": Price(pico=micro * MICRO, per=1)}
        books.append(
            Book(
                name=f"b{at}",
                currency="EUR",
                effective=int(WALL),
                cases=(Case(prices=prices),),
                corrects=before,
            )
        )
        before = f"b{at}"
    return Tariff(Books(books), UNITS)


def made(by: Tariff, before: list[Adjusted]) -> list[Adjusted]:
    return list(differences(ROWS, posted(before), by, WALL + 100))


def total(by: Tariff, adjusted: list[Adjusted], rows: list[Ended]) -> int:
    lines = money_by(rows, ("tenant",), by)
    add_adjusted(lines, adjusted, ("tenant",), MoneyLine)
    return sum(line.micro + line.adjusted for line in lines.values())


def test_what_is_posted_is_the_difference_with_who_and_when() -> None:
    found = made(tariff(10, 7), [])

    assert [(each.id, each.units[BUDGET], each.sequence) for each in found] == [
        (f"r{at}", -3 * at, 1) for at in range(1, 5)
    ]
    [first, *_] = found
    assert (first.note, first.currency, first.began, first.reason) == (
        "by b1 in place of b0",
        "EUR",
        WALL,
        "price",
    )
    assert (first.tenant, first.key_id, first.model) == ("acme", "k1", "chat")
    assert (first.modality, first.region, first.regions) == ("llm", "eu", ("eu",))


def test_without_a_correction_nothing_is_posted() -> None:
    assert made(tariff(10), []) == []


def test_a_correction_of_units_is_no_money_and_has_its_number() -> None:
    units = Adjusted(
        id="r4",
        sequence=3,
        wall=WALL,
        reason="count",
        tenant="acme",
        units={"llm.output_tokens": -1},
    )
    found = made(tariff(10, 7), [units, replace(units, sequence=2)])
    by_id = {each.id: (each.sequence, each.units[BUDGET]) for each in found}

    assert by_id["r4"] == (4, -12)
    assert by_id["r3"] == (1, -9)
    assert total(tariff(10), [units], ROWS) == 10 * 10


def test_what_began_before_the_first_book_is_not_corrected() -> None:
    early = replace(ROWS[3], wall=WALL - 1)

    assert list(differences([early], {}, tariff(10, 7), WALL)) == []


def test_what_had_no_price_is_owed_whole() -> None:
    assert sum(each.units[BUDGET] for each in made(tariff(None, 7), [])) == 7 * 10


@pytest.mark.slow
@given(st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=1, max_size=5))
def test_after_any_corrections_the_sum_is_that_of_the_last_book(
    micros: list[int | None],
) -> None:
    adjusted: list[Adjusted] = []
    for upto in range(1, len(micros) + 1):
        by = tariff(*micros[:upto])
        adjusted += made(by, adjusted)
        assert made(by, adjusted) == []
        assert total(by, adjusted, ROWS) == (micros[upto - 1] or 0) * 10
    by = tariff(micros[0])
    adjusted += made(by, adjusted)  # all corrections are taken back

    assert total(by, adjusted, ROWS) == (micros[0] or 0) * 10
    assert len({(each.id, each.sequence) for each in adjusted}) == len(adjusted)
