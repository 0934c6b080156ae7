"""Requests without a price are counted, by what has none."""

from __future__ import annotations

from msgspec.structs import replace
from rigs.ledger import WALL, receipt

from modgate.api.price import Book, Case, Price
from modgate.invoice import Tariff
from modgate.observe.metrics import Registry
from modgate.prices.books import Books
from modgate.units import Unit, UnitTable
from modgate.unpriced import Unpriced

UNITS = UnitTable.of({"llm": (Unit("input_tokens", "read"), Unit("output_tokens", "written"))})
FREE = Price(pico=0, per=1)


def counted(*cases: Case) -> str:
    """The metric after one request of each sort."""
    registry = Registry()
    counter = registry.counter("unpriced", "m", "modality", "unit")
    books = [Book(name="b", currency="EUR", effective=int(WALL), cases=cases)] if cases else []
    tariff = Tariff(Books(books), UNITS)
    made = Unpriced(counter, lambda: tariff)
    for each in (
        receipt("a"),
        receipt("b", tokens=9),
        replace(receipt("refused"), admitted=False),
        replace(receipt("page"), modality=""),
    ):
        made.observe(each)
    return registry.render().decode()


def test_what_has_no_price_is_counted_by_unit() -> None:
    assert 'unpriced{modality="llm",unit="llm.output_tokens"} 2' in counted(
        Case(prices={"llm.input_tokens": FREE})
    )


def test_what_is_free_is_priced() -> None:
    assert "unpriced{" not in counted(Case(prices={"llm.output_tokens": FREE}))


def test_without_books_nothing_is_counted() -> None:
    assert "unpriced{" not in counted()
