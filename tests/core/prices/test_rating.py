"""What one request costs: sums, parts and wholes, and what has no price."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modgate.api.price import MICRO, Book, Case, Place, Price
from modgate.prices.books import Books, dearest_in
from modgate.prices.rating import Rated, Tried, Used, rate, shares
from modgate.units import Unit, UnitTable

UNITS = UnitTable.of(
    {
        "vlm": (
            Unit("input_tokens", "read"),
            Unit("cached_tokens", "known", part_of="input_tokens"),
            Unit("image_tokens", "seen", part_of="input_tokens"),
            Unit("output_tokens", "written", learned=True),
        ),
        "asr": (Unit("audio_ms", "heard", shown="audio_seconds", scale=1000),),
    }
)
USED = Used(tenant="acme", model="eyes", modality="vlm", slo="gold", units={})
NAMES = sorted(UNITS.units)
prices = st.builds(
    Price, pico=st.integers(0, 10**15), per=st.sampled_from([1, 1000, 10**6, 3_600_000])
)
counts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**9))
cases = st.builds(
    Case,
    prices=st.dictionaries(st.sampled_from(NAMES), prices),
    tenant=st.sampled_from(["", "acme", "other"]),
    model=st.sampled_from(["", "eyes", "other"]),
    slo=st.sampled_from(["", "gold"]),
    region=st.sampled_from(["", "eu", "us"]),
)
books = st.builds(
    lambda found: Book(name="b", currency="EUR", effective=0, cases=tuple(found)),
    st.lists(cases, max_size=5),
)


def book(*cases: Case, **prices: Price) -> Book:
    """A book with prices by unit (`vlm__input_tokens`)."""
    plain = {name.replace("__", "."): price for name, price in prices.items()}
    return Book(name="b", currency="EUR", effective=0, cases=(Case(prices=plain), *cases))


def rated(by: Book | None, **units: int) -> Rated:
    named = {name.replace("__", "."): count for name, count in units.items()}
    return rate(replace(USED, units=named), by, UNITS)


def cents(amount: int, per: int) -> Price:
    """So many hundredths of a currency for `per`."""
    return Price(pico=amount * 10**10, per=per)


def test_a_price_that_is_no_whole_number_of_the_least_part_is_exact() -> None:
    a_cent_a_minute = cents(1, 60_000)

    assert a_cent_a_minute.micro(60_000) == 10_000
    assert a_cent_a_minute.micro(20_000) == 3333
    assert a_cent_a_minute.micro(40_000) == 6667


def test_half_a_micro_unit_is_rounded_up() -> None:
    assert Price(pico=MICRO // 2, per=1).micro(1) == 1
    assert Price(pico=MICRO // 2 - 1, per=1).micro(1) == 0
    assert Price(pico=MICRO // 2, per=1).micro(3) == 2


def test_a_price_on_a_part_takes_the_place_of_the_wholes_for_that_part() -> None:
    by = book(vlm__input_tokens=cents(100, 10**6), vlm__cached_tokens=cents(10, 10**6))
    found = rated(by, vlm__input_tokens=3_000_000, vlm__cached_tokens=1_000_000)

    assert [(line.unit, line.count, line.micro) for line in found.lines] == [
        ("vlm.cached_tokens", 1_000_000, 100_000),
        ("vlm.input_tokens", 2_000_000, 2_000_000),
    ]


def test_a_part_without_a_price_is_in_the_wholes() -> None:
    by = book(vlm__input_tokens=cents(100, 10**6))
    found = rated(by, vlm__input_tokens=3_000_000, vlm__cached_tokens=1_000_000)

    assert (found.micro, found.pricing) == (3_000_000, "priced")


def test_a_part_with_a_price_is_billed_where_its_whole_has_none() -> None:
    found = rated(book(vlm__cached_tokens=cents(1, 1)), vlm__input_tokens=10, vlm__cached_tokens=4)

    assert [(line.unit, line.count) for line in found.lines] == [("vlm.cached_tokens", 4)]
    assert (found.unpriced, found.pricing) == (("vlm.input_tokens",), "partly")


def test_of_parts_that_lie_over_each_other_no_unit_is_billed_twice() -> None:
    def billed(a_picture: int) -> dict[str, int]:
        by = book(
            vlm__input_tokens=cents(100, 100),
            vlm__cached_tokens=cents(10, 100),
            vlm__image_tokens=cents(a_picture, 100),
        )
        found = rated(by, vlm__input_tokens=100, vlm__cached_tokens=80, vlm__image_tokens=60)
        return {line.unit: line.count for line in found.lines}

    assert billed(a_picture=50) == {"vlm.cached_tokens": 80, "vlm.image_tokens": 20}
    assert billed(a_picture=1) == {"vlm.cached_tokens": 40, "vlm.image_tokens": 60}


def test_what_has_no_price_is_said_to_have_none_and_is_not_free() -> None:
    by = book(vlm__input_tokens=Price(pico=0, per=1))
    free = rated(by, vlm__input_tokens=5)
    partly = rated(by, vlm__input_tokens=5, vlm__output_tokens=7)
    nothing = rated(by, vlm__output_tokens=7)

    assert (free.pricing, free.micro, free.unpriced) == ("priced", 0, ())
    assert (partly.pricing, partly.unpriced) == ("partly", ("vlm.output_tokens",))
    assert (nothing.pricing, nothing.lines) == ("unpriced", ())


def test_before_the_first_book_all_is_unpriced() -> None:
    found = rated(None, vlm__input_tokens=5, vlm__requests=1)

    assert (found.pricing, found.unpriced) == ("unpriced", ("vlm.input_tokens",))
    assert rated(None, vlm__input_tokens=0).pricing == "priced"


def test_requests_and_bytes_need_no_price_and_may_have_one() -> None:
    without = rated(book(), vlm__requests=1, vlm__bytes_in=10, vlm__bytes_out=20)
    having = rated(book(vlm__requests=cents(1, 1)), vlm__requests=1, vlm__bytes_in=10)

    assert without.pricing == "priced"
    assert having.micro == 10_000


def test_the_narrowest_case_counts_and_a_tenants_own_goes_first() -> None:
    def case(micro: int, **of: str) -> Case:
        return Case(prices={"vlm.input_tokens": Price(pico=micro * MICRO, per=1)}, **of)

    found = book(
        case(2, region="eu"),
        case(3, slo="gold"),
        case(4, model="eyes", region="eu"),
        case(5, tenant="acme"),
        vlm__input_tokens=Price(pico=MICRO, per=1),
    )

    def price(**at: str) -> int:
        found_price = found.price("vlm.input_tokens", Place(**at))
        assert found_price is not None
        return found_price.micro(1)

    assert price() == 1
    assert price(region="eu") == 2
    assert price(region="eu", slo="gold") == 3
    assert price(region="eu", slo="gold", model="eyes") == 4
    assert price(region="eu", slo="gold", model="eyes", tenant="acme") == 5


def test_a_request_is_rated_by_the_book_in_force_when_it_began() -> None:
    spring = Book(name="spring", currency="EUR", effective=100)
    summer = Book(name="summer", currency="EUR", effective=200)
    found = Books(
        (summer, spring, Book(name="fix", currency="EUR", effective=100, corrects="spring"))
    )

    assert found.in_force(99.9) is None
    assert found.in_force(100.0) is spring
    assert found.in_force(199.999) is spring
    assert found.in_force(200.0) is summer
    assert found.corrected(spring).name == "fix"
    assert found.corrected(summer) is summer


def test_the_region_is_where_it_was_served_and_none_where_that_was_two() -> None:
    def tried(region: str, served: bool) -> Tried:
        return Tried(region=region, model="eyes", served=served)

    assert replace(USED, tried=(tried("us", False), tried("eu", True))).region == "eu"
    assert replace(USED, tried=(tried("us", False),)).region == "us"
    assert replace(USED, tried=(tried("us", True), tried("eu", True))).region == ""
    assert USED.region == ""
    assert replace(USED, cut_in="eu").region == "eu"


def test_side_calls_are_priced_by_the_model_that_answered_them() -> None:
    own = Tried(region="", model="eyes", served=True)
    side = Tried(region="", model="ears", served=True)
    used = replace(USED, units={"asr.audio_ms": 1000}, tried=(own, side))
    by = book(Case(model="ears", prices={"asr.audio_ms": Price(pico=MICRO, per=1)}))

    assert rate(used, by, UNITS).micro == 1000
    assert rate(replace(used, tried=(own,)), by, UNITS).pricing == "unpriced"


def test_a_side_call_elsewhere_has_the_price_of_its_region_and_the_reply_that_of_its_own() -> None:
    own = Tried(region="eu", model="eyes", served=True)
    asked = {"vlm.input_tokens": 40}
    side = Tried(region="us", model="other", served=True, side=True, units=asked)
    used = replace(USED, units={"vlm.input_tokens": 100}, tried=(side, own))
    by = book(
        Case(region="eu", prices={"vlm.input_tokens": cents(2, 1)}),
        Case(region="us", prices={"vlm.input_tokens": cents(3, 1)}),
    )

    assert [(line.model, line.count, line.price) for line in rate(used, by, UNITS).lines] == [
        ("", 60, cents(2, 1)),
        ("other", 40, cents(3, 1)),
    ]
    more = replace(used, tried=(side, replace(side, region="eu", model="more", units={}), own))
    own_elsewhere = replace(used, tried=(side, replace(own, model="other")))
    assert rate(more, by, UNITS) == rate(own_elsewhere, by, UNITS) == rate(used, by, UNITS)
    only_theirs = book(Case(model="other", prices={"vlm.input_tokens": cents(2, 1)}))
    all_theirs = replace(used, units=asked)
    assert rate(all_theirs, only_theirs, UNITS).pricing == "priced"
    same = replace(used, tried=(replace(side, model="eyes"), own))
    assert [(line.model, line.count, line.price) for line in rate(same, by, UNITS).lines] == [
        ("", 100, cents(2, 1))
    ]


tries = st.lists(
    st.builds(
        Tried,
        region=st.just(""),
        model=st.sampled_from(["eyes", "ears", "other"]),
        served=st.booleans(),
        units=counts,
    ),
    max_size=4,
)


def test_a_side_call_of_the_same_modality_has_the_price_of_its_own_model() -> None:
    own = Tried(region="", model="eyes", served=True)
    side = Tried(region="", model="other", served=True, units={"vlm.input_tokens": 40})
    used = replace(USED, units={"vlm.input_tokens": 100}, tried=(side, own))
    dear, free = cents(100, 1), Price(pico=0, per=1)
    apart = book(Case(model="other", prices={"vlm.input_tokens": free}), vlm__input_tokens=dear)
    alike = book(Case(model="other", prices={"vlm.input_tokens": dear}), vlm__input_tokens=dear)
    none = book(Case(model="eyes", prices={"vlm.input_tokens": dear}))

    assert [(line.model, line.count) for line in rate(used, apart, UNITS).lines] == [
        ("", 60),
        ("other", 40),
    ]
    assert [(line.model, line.count) for line in rate(used, alike, UNITS).lines] == [("", 100)]
    assert rate(used, none, UNITS).pricing == "partly"


def test_parts_of_a_side_call_lie_over_each_other_and_not_over_the_requests_own_units() -> None:
    picture = {"vlm.input_tokens": 10, "vlm.cached_tokens": 10, "vlm.image_tokens": 10}
    side = Tried(region="", model="other", served=True, units=picture)
    used = replace(USED, units={**picture, "vlm.input_tokens": 20}, tried=(side,))
    by = book(
        vlm__input_tokens=cents(100, 1),
        vlm__cached_tokens=cents(1, 1),
        vlm__image_tokens=cents(50, 1),
    )

    assert [(line.unit, line.count) for line in rate(used, by, UNITS).lines] == [
        ("vlm.cached_tokens", 10),
        ("vlm.input_tokens", 10),
    ]


@pytest.mark.slow
@given(by=books, used=counts, tried=tries)
def test_what_side_calls_did_cost_is_told_apart_and_billed_once(
    by: Book, used: dict[str, int], tried: list[Tried]
) -> None:
    found = rate(replace(USED, units=used, tried=tuple(tried)), by, UNITS)
    apart = shares("eyes", used, tried)

    assert {unit: sum(s.get(unit, 0) for s in apart.values()) for unit in used} == used
    whole, parts = "vlm.input_tokens", {"vlm.cached_tokens", "vlm.image_tokens"}
    billed = sum(line.count for line in found.lines if line.unit in {whole, *parts})
    if not parts & used.keys():
        assert billed <= used.get(whole, 0)
    for line in found.lines:
        assert line.count <= used[line.unit]


@pytest.mark.slow
@given(by=books, used=counts)
def test_the_sum_of_the_lines_is_what_is_billed_and_whole_numbers_throughout(
    by: Book, used: dict[str, int]
) -> None:
    found = rate(replace(USED, units=used), by, UNITS)

    assert found.micro == sum(line.micro for line in found.lines)
    for line in found.lines:
        exact = Fraction(line.count * line.price.pico, line.price.per * MICRO)
        assert type(line.micro) is int
        assert -Fraction(1, 2) < line.micro - exact <= Fraction(1, 2)


@given(by=books, used=counts)
def test_no_unit_of_a_whole_is_billed_twice_and_none_is_lost(
    by: Book, used: dict[str, int]
) -> None:
    found = rate(replace(USED, units=used), by, UNITS)
    billed = {line.unit: line.count for line in found.lines}
    priced = {unit for unit in used if by.price(unit, USED.place(unit, "")) is not None}
    whole, parts = "vlm.input_tokens", {"vlm.cached_tokens", "vlm.image_tokens"}
    total = sum(billed.get(unit, 0) for unit in {whole, *parts})

    assert all(count <= used[unit] for unit, count in billed.items())
    if used.get(whole):
        assert total <= used[whole]
    if used.get(whole) and whole in priced:
        assert total == used[whole]
    if used.get(whole) and not parts & priced and whole in priced:
        assert billed[whole] == used[whole]


@pytest.mark.slow
@given(by=books, used=counts, more=st.integers(0, 10**9), unit=st.sampled_from(NAMES))
def test_more_of_a_whole_never_costs_less(
    by: Book, used: dict[str, int], more: int, unit: str
) -> None:
    if UNITS.units[unit].part_of is not None:
        return
    greater = {**used, unit: used.get(unit, 0) + more}
    if used.get(unit, 0) == 0:
        used = {name: n for name, n in used.items() if UNITS.units[name].part_of is None}
        greater = {**used, unit: more}

    assert (
        rate(replace(USED, units=greater), by, UNITS).micro
        >= rate(replace(USED, units=used), by, UNITS).micro
    )


@pytest.mark.slow
@given(by=books, region=st.sampled_from(["", "eu", "us", "elsewhere"]), unit=st.sampled_from(NAMES))
def test_nothing_is_dearer_than_the_dearest(by: Book, region: str, unit: str) -> None:
    place = USED.place(unit, region)
    there, worst = by.price(unit, place), dearest_in(by, unit, place)

    if there is not None:
        assert worst is not None
        assert there.each <= worst.each


@pytest.mark.slow
@given(by=books, unit=st.sampled_from(NAMES), region=st.sampled_from(["", "eu", "us", "x"]))
def test_a_price_is_that_of_the_narrowest_of_all_cases_that_fit(
    by: Book, unit: str, region: str
) -> None:
    place = USED.place(unit, region)
    fitting = [
        (tuple(bool(name) for name in case.place), number, case.prices[unit])
        for number, case in enumerate(by.cases)
        if unit in case.prices
        and all(mine in ("", at) for mine, at in zip(case.place, place, strict=True))
    ]
    found = by.price(unit, place)

    assert found == (max(fitting, key=lambda each: each[:2])[2] if fitting else None)
