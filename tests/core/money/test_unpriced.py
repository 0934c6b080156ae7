"""Requests without a price are counted, by what has none."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from rigs.ledger import WALL, receipt

from modgate.api.price import Book, Case, Price
from modgate.api.sink import Attempt, Receipt
from modgate.money.invoice import Tariff
from modgate.money.unpriced import UnpricedCounter
from modgate.observe.metrics import Registry
from modgate.prices.books import Books
from modgate.units import Unit, UnitTable

UNITS = UnitTable.of({"llm": (Unit("input_tokens", "read"), Unit("output_tokens", "written"))})
FREE = Price(pico=0, per=1)


def counted(*cases: Case, more: Sequence[Receipt] = ()) -> str:
    """The metric after one request of each sort, and some more."""
    registry = Registry()
    counter = registry.counter("unpriced", "m", "modality", "unit")
    books = [Book(name="b", currency="EUR", effective=int(WALL), cases=cases)] if cases else []
    tariff = Tariff(Books(books), UNITS)
    made = UnpricedCounter(counter, lambda: tariff)
    for each in (
        receipt("a"),
        receipt("b", tokens=9),
        replace(receipt("refused"), admitted=False),
        replace(receipt("page"), modality=""),
        *more,
    ):
        made.observe(each)
    return registry.render().decode()


def test_what_has_no_price_is_counted_by_unit() -> None:
    assert 'unpriced{modality="llm",unit="llm.output_tokens"} 2' in counted(
        Case(prices={"llm.input_tokens": FREE})
    )


def test_what_was_relayed_before_a_cut_is_priced_where_it_came_from() -> None:
    def tried(region: str, first_s: float | None, state: str) -> Attempt:
        made = Attempt(0, "b", region, "chat", 0.0, "")
        return replace(made, first_s=first_s, state=state)

    mute = tried("us", None, "failed")
    cut = [
        receipt(name, attempts=(mute, tried("eu", first_s, "cancelled")))
        for name, first_s in (("c", None), ("d", 0.5))
    ]
    eu = Case(region="eu", prices={"llm.output_tokens": FREE})

    assert 'unit="llm.output_tokens"} 3' in counted(eu, more=cut)


def test_what_is_left_for_its_own_model_is_counted_by_each_request() -> None:
    side = Attempt(-1, "b", "eu", "guard", 0.0, "", state="ok", units={"llm.output_tokens": 7})
    priced = Case(model="guard", prices={"llm.output_tokens": FREE})
    asked = [receipt("c", attempts=(side,)), receipt("d", tokens=9, attempts=(side,))]

    assert 'unit="llm.output_tokens"} 3' in counted(priced, more=asked)


def test_a_reload_of_the_books_counts_by_the_new_ones() -> None:
    registry = Registry()
    counter = registry.counter("unpriced", "m", "modality", "unit")

    def tariff(*cases: Case) -> Tariff:
        return Tariff(
            Books([Book(name="b", currency="EUR", effective=int(WALL), cases=cases)]), UNITS
        )

    told = tariff()
    made = UnpricedCounter(counter, lambda: told)
    made.observe(receipt("a"))
    told = tariff(Case(prices={"llm.output_tokens": FREE}))
    made.observe(receipt("b"))
    made.observe(receipt("c"))

    assert b'unit="llm.output_tokens"} 1' in registry.render()


def test_what_is_free_is_priced() -> None:
    assert "unpriced{" not in counted(Case(prices={"llm.output_tokens": FREE}))


def test_without_books_nothing_is_counted() -> None:
    assert "unpriced{" not in counted()
