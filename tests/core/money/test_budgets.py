"""What a request may cost a budget, and what it has cost one so far."""

from __future__ import annotations

import pytest
from rigs.drafts import attempted, drafted

from modgate.api.auth import Caller, Period, Policy, Rate
from modgate.api.price import BUDGET, MICRO, Book, Case, Price
from modgate.draft import Draft
from modgate.errors import Unpriced
from modgate.limits.rates import Rates
from modgate.money import budgets
from modgate.money.budgets import Budgets, with_money
from modgate.units import Unit, Units, UnitTable

WALL = 1_767_225_600.0
UNITS = UnitTable.of({"llm": (Unit("input_tokens", "read"), Unit("output_tokens", "written"))})


def each(micro: int) -> Price:
    return Price(pico=micro * MICRO, per=1)


READ = Case(prices={"llm.input_tokens": each(2)})
WRITTEN = Case(prices={"llm.output_tokens": each(5)})


def made(*cases: Case) -> Budgets:
    return Budgets.of([Book(name="b", currency="EUR", effective=int(WALL), cases=cases)], UNITS)


def draft(*, wall: float = WALL, tenant: str = "acme") -> Draft:
    return drafted(
        wall=wall,
        caller=Caller(tenant=tenant, key_id="k", policy=Policy(slo="gold")),
        modality="llm",
        model="chat",
    )


def reserved(by: Budgets, first: bool = False, **units: int) -> int:
    return by.reserve(draft(), Units(units, modality="llm"), "chat", first=first).full()[BUDGET]


def test_what_may_cost_is_the_sum_of_its_units() -> None:
    assert reserved(made(READ, WRITTEN), input_tokens=10, output_tokens=3) == 35


def test_the_request_itself_is_reserved_once_where_it_has_a_price() -> None:
    by = made(READ, Case(prices={"llm.requests": each(1000)}))

    assert reserved(by, first=True, input_tokens=10) == 1020
    assert reserved(by, first=False, input_tokens=10) == 20


def test_the_dearest_region_is_reserved_and_no_other_callers_price() -> None:
    us = Case(prices={"llm.input_tokens": each(3)}, region="us")
    theirs = Case(prices={"llm.input_tokens": each(9)}, tenant="beta")
    gold = Case(prices={"llm.input_tokens": each(4)}, slo="gold")

    assert reserved(made(READ, us, theirs), input_tokens=10) == 30
    assert reserved(made(READ, us, theirs, gold), input_tokens=10) == 40


def test_a_unit_without_a_price_is_refused_by_its_name() -> None:
    with pytest.raises(Unpriced, match=r"`chat` has no price for llm\.output_tokens,"):
        reserved(made(READ), input_tokens=10, output_tokens=3)


@pytest.mark.parametrize("by", [made(READ), made(READ, WRITTEN)])
def test_a_unit_of_which_nothing_more_is_needed_needs_no_price(by: Budgets) -> None:
    drawn = Units(input_tokens=30, output_tokens=5)
    short = drawn.beyond(Units(input_tokens=20, output_tokens=5)).of("llm")

    assert by.reserve(draft(), short, "chat", first=False)["micro"] == 20


def test_before_the_first_book_nothing_has_a_price() -> None:
    early = draft(wall=WALL - 1)
    by = made(READ)

    assert by.so_far(early, {"llm.input_tokens": 10}) == 0
    with pytest.raises(Unpriced):
        by.reserve(early, Units({"input_tokens": 1}, modality="llm"), "chat", first=True)


def test_what_it_has_cost_so_far_leaves_out_what_has_no_price() -> None:
    assert made(READ).so_far(draft(), {"llm.input_tokens": 10, "llm.output_tokens": 9}) == 20


def test_each_models_units_have_its_own_price_so_far() -> None:
    prices = {"chat": 3, "aside": 11}
    cases = [Case(prices={"llm.input_tokens": each(n)}, model=m) for m, n in prices.items()]
    living = draft()
    living.tries = [attempted(-1, model="aside", units={"llm.input_tokens": 4})]

    assert made(*cases).so_far(living, {"llm.input_tokens": 10}) == 6 * 3 + 4 * 11


def test_however_many_tenants_there_are_prices_are_right_and_few_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "KNOWN_AT_MOST", 3)
    dear = Case(prices={"llm.input_tokens": each(7)}, tenant="t2")
    by = made(READ, dear)

    told = [by.so_far(draft(tenant=f"t{n % 5}"), {"llm.input_tokens": 1}) for n in range(20)]

    assert told == [2, 2, 7, 2, 2] * 4
    assert len(by._known) <= 3


@pytest.mark.parametrize(
    ("period", "wait_ms", "said"),
    [
        ("month", 9_000_000, "the quota of 2.5 EUR per month is spent"),
        ("hour", 9_000, "cost per hour: limit 2.5 EUR. Please try again in 9.000s."),
    ],
)
def test_a_limit_on_money_is_told_with_its_currency(
    period: Period, wait_ms: int, said: str
) -> None:
    tariff = Budgets.of([Book(name="p", currency="EUR", effective=0)], UnitTable()).tariff
    rate = Rate(unit=BUDGET, amount=2_500_000, period=period)
    error = Rates(with_money(tariff), int).refusal(rate, wait_ms, spent=True)

    assert said in error.message
