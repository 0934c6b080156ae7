"""Price books as operators write them; a price that is not what it seems is refused."""

from __future__ import annotations

import pytest
from made_configs import Config

from modgate.api.price import BUDGET, Case, Price
from modgate.plugin import Rate

FRONT = '[plugin.words]\n[plugin.sounds]\n[model.chat]\nmodality = "words"\n'
BOOK = '[price.a]\neffective = 2026-03-01\ncurrency = "EUR"\n'


def price(config: Config, written: str, unit: str = "words.input_tokens") -> Price:
    found = config.link(f'{FRONT}{BOOK}units = {{ "{unit}" = "{written}" }}\n').books
    [price] = found[0].cases[0].prices.values()
    return price


@pytest.mark.parametrize(
    ("unit", "written", "pico", "per"),
    [
        ("words.input_tokens", "0.15/1M", 150_000_000_000, 10**6),
        ("words.input_tokens", "15 / 2k tokens", 15 * 10**12, 2000),
        ("words.input_tokens", "1/token", 10**12, 1),
        ("words.input_tokens", "0.000000000001/1", 1, 1),
        ("words.input_tokens", "free", 0, 1),
        ("sounds.audio_seconds", "0.006/min", 6_000_000_000, 60_000),
        ("sounds.audio_seconds", "0.36/hour", 360_000_000_000, 3_600_000),
        ("sounds.audio_seconds", "1/1k", 10**12, 1_000_000),
        ("sounds.audio_seconds", "1/10 hours", 10**12, 36_000_000),
    ],
)
def test_a_price_is_kept_as_it_is_written(
    config: Config, unit: str, written: str, pico: int, per: int
) -> None:
    assert price(config, written, unit) == Price(pico=pico, per=per)


@pytest.mark.parametrize(
    ("unit", "written", "said"),
    [
        ("words.input_tokens", "0.15", "a price reads"),
        ("words.input_tokens", "0.15/", "a price reads"),
        ("words.input_tokens", "-1/1M", "a price reads"),
        ("words.input_tokens", "1/0", "at least one unit"),
        ("words.input_tokens", "0.0000000000001/1", "at most 12 decimal places"),
        ("words.input_tokens", "1/hour", "is for 'input_token' and not 'hour'"),
        ("sounds.audio_seconds", "1/day", "is for 'second', 'min' or 'hour' and not 'day'"),
        ("words.imput_tokens", "1/1M", "did you mean 'words.input_tokens'?"),
        ("words.audio_ms", "1/1M", "unknown unit"),
    ],
)
def test_a_price_that_says_nothing_plain_is_refused_at_its_line(
    config: Config, unit: str, written: str, said: str
) -> None:
    [problem] = config.told(f'{FRONT}{BOOK}units = {{ "{unit}" = "{written}" }}\n')

    assert problem.startswith("modgate.toml:8: price.a.units.")
    assert said in problem


@pytest.mark.parametrize(
    ("written", "second"),
    [
        ("2026-03-01", 1_772_323_200),
        ("2026-03-01T00:00:00", 1_772_323_200),
        ("2026-03-01T02:00:00+02:00", 1_772_323_200),
        ('"2026-03-01T06:00:00Z"', 1_772_344_800),
    ],
)
def test_a_book_begins_at_a_moment_of_utc(config: Config, written: str, second: int) -> None:
    [book] = config.link(f'{FRONT}[price.a]\neffective = {written}\ncurrency = "EUR"\n').books

    assert book.effective == second


def test_a_star_is_every_modalitys_and_a_units_own_price_goes_before_it(config: Config) -> None:
    units = 'units = { "words.output_tokens" = "2/1", "*.output_tokens" = "1/1" }\n'
    [book] = config.link(f"{FRONT}{BOOK}{units}").books

    assert {unit: each.pico // 10**12 for unit, each in book.cases[0].prices.items()} == {
        "words.output_tokens": 2,
        "sounds.output_tokens": 1,
    }


def test_a_correction_has_the_time_of_the_first_book_of_its_chain(config: Config) -> None:
    more = (
        '[price.c]\ncorrects = "b"\ncurrency = "EUR"\n[price.b]\ncorrects = "a"\ncurrency = "EUR"\n'
    )
    found = config.link(f"{FRONT}{BOOK}{more}").books

    assert {book.name: book.effective for book in found} == dict.fromkeys("abc", 1_772_323_200)


def test_a_correction_keeps_what_it_does_not_name(config: Config) -> None:
    case = '[[price.{0}.case]]\nmodel = "chat"\nunits = {{ "words.output_tokens" = "{1}/1" }}\n'
    text = (
        f'{BOOK}units = {{ "words.input_tokens" = "1/1", "words.output_tokens" = "2/1" }}\n'
        f'{case.format("a", 3)}[price.b]\ncorrects = "a"\ncurrency = "EUR"\n'
        'units = { "words.input_tokens" = "4/1" }\n'
        f'[price.c]\ncorrects = "b"\ncurrency = "EUR"\n{case.format("c", 5)}'
    )
    books = {book.name: book for book in config.link(f"{FRONT}{text}").books}
    said = {
        name: [
            {unit.partition(".")[2]: each.pico // 10**12 for unit, each in case.prices.items()}
            for case in book.cases
        ]
        for name, book in books.items()
    }

    assert said == {
        "a": [{"input_tokens": 1, "output_tokens": 2}, {"output_tokens": 3}],
        "b": [{"input_tokens": 4, "output_tokens": 2}, {"output_tokens": 3}],
        "c": [{"input_tokens": 4, "output_tokens": 2}, {"output_tokens": 5}],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[price.b]\neffective = 2026-03-01\ncurrency = "EUR"\n', "'a' begins then, too"),
        ('[price.b]\neffective = 2026-03-02\ncurrency = "USD"\n', "take one for all"),
        ('[price.b]\ncurrency = "EUR"\n', "say 'effective', or 'corrects'"),
        ('[price.b]\ncorrects = "aa"\ncurrency = "EUR"\n', "did you mean 'a'?"),
        ('[price.b]\ncorrects = "b"\ncurrency = "EUR"\n', "no other [price.b]"),
        ('[price.b]\neffective = 2026-03-02\ncurrency = "euro"\n', "three letters"),
        ('[price.b]\neffective = "soon"\ncurrency = "EUR"\n', "a day reads"),
        ('[[price.a.case]]\nunits = { "words.input_tokens" = "free" }\n', "is of all requests"),
        ('[[price.a.case]]\nmodel = "cat"\nunits = {}\n', "did you mean 'chat'?"),
        ('[[price.a.case]]\nslo = "gold"\nunits = {}\n', "no [slo.gold]"),
        ('[[price.a.case]]\nregion = "eu"\nunits = {}\n', "no backend stands in 'eu'"),
        (
            '[[backend]]\nname = "b"\nurl = "http://x:1"\nserves = { chat = "e" }\n'
            'cost_per_hour = "2.50 USD"\n',
            "is in USD, and the price books are in EUR",
        ),
        (
            '[[backend]]\nname = "b"\nurl = "http://x:1"\nserves = { chat = "e" }\n'
            'cost_per_hour = "2.5"\n',
            "an amount of money reads",
        ),
    ],
)
def test_books_that_leave_a_price_open_are_refused(config: Config, text: str, said: str) -> None:
    problems = config.told(f"{FRONT}{BOOK}{text}")

    assert len(problems) == 1
    assert said in problems[0]


def test_costs_of_two_currencies_are_refused_where_there_is_no_book_either(config: Config) -> None:
    """Which backend is cheaper is asked of the numbers alone (`[select] cost`)."""
    text = '[[backend]]\nname = "{0}"\nurl = "http://{0}:1"\nserves = {{ chat = "e" }}\n'
    costs = ("", "4 EUR", "3 EUR", "1 USD")
    backends = "".join(
        text.format(f"b{at}") + (f'cost_per_hour = "{cost}"\n' if cost else "")
        for at, cost in enumerate(costs)
    )
    [problem] = config.told(FRONT + backends)

    assert "cost_per_hour: is in USD, and another backend is in EUR" in problem


def test_corrections_in_a_circle_are_refused(config: Config) -> None:
    more = (
        '[price.b]\ncorrects = "c"\ncurrency = "EUR"\n[price.c]\ncorrects = "b"\ncurrency = "EUR"\n'
    )
    problems = config.told(f"{FRONT}{BOOK}{more}")

    assert len(problems) == 2
    assert all("go in a circle" in problem for problem in problems)


def test_two_cases_of_the_same_requests_may_not_price_a_unit_twice(config: Config) -> None:
    case = '[[price.a.case]]\nmodel = "chat"\nunits = { "words.input_tokens" = "1/1" }\n'
    [problem] = config.told(f"{FRONT}{BOOK}{case}{case}")

    assert "has a price in another case like this one" in problem


def test_a_closed_book_may_name_what_is_gone(config: Config) -> None:
    case = '[[price.a.case]]\ntenant = "gone"\nunits = { "old.units" = "1/1" }\n'
    [book] = config.link(f"{FRONT}{BOOK}closed = true\n{case}").books

    assert book.cases[1].tenant == "gone"
    assert book.cases[1].prices == {}


def test_a_budget_is_a_rate_of_money(config: Config) -> None:
    section = (
        '[tenant.acme.limits]\ncost = "100 EUR/month"\neach_key = { cost = "2.50 EUR/h" }\n'
        'models = { chat = { cost = { rate = "1 EUR/day", shadow = true } } }\n'
    )
    [tenant] = config.link(f"{FRONT}{BOOK}{section}").tenants

    assert tenant.policy.limits.rates == (
        Rate(unit=BUDGET, amount=100_000_000, period="month"),
        Rate(unit=BUDGET, amount=2_500_000, period="hour", each_key=True),
        Rate(unit=BUDGET, amount=1_000_000, period="day", model="chat", shadow=True),
    )


@pytest.mark.parametrize(
    ("book", "cost", "said"),
    [
        ("", "100 EUR/month", "needs prices: add a price book"),
        (BOOK, "100 USD/month", "is in USD, and the price books are in EUR"),
        (BOOK, "3000 EUR/hour", "is more than can be counted; take a shorter period"),
        (BOOK, "100 EUR", 'a budget reads "100 EUR/month"'),
        (BOOK, "100/month", 'a budget reads "100 EUR/month"'),
        (BOOK, "100 EUR/fortnight", 'a budget reads "100 EUR/month"'),
        (BOOK, "0 EUR/month", "a budget is above 0"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(
    config: Config, book: str, cost: str, said: str
) -> None:
    [problem] = config.told(f'{FRONT}{book}[tenant.acme.limits]\ncost = "{cost}"\n')

    assert ".limits.cost: " in problem
    assert said in problem


def test_each_case_is_held_against_those_of_its_own_requests_only(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A book may have a case a tenant; each pair of them would take minutes."""
    compared, equal = 0, Case.__eq__

    def counted(case: Case, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(case, other)

    monkeypatch.setattr(Case, "__eq__", counted)
    cases = "".join(
        f'[[price.a.case]]\ntenant = "t{number}"\nunits = {{ "words.input_tokens" = "1/1k" }}\n'
        for number in range(200)
    )
    [book] = config.link(f"{FRONT}{BOOK}{cases}").books

    assert len(book.cases) == 201
    assert compared <= 2 * 201
