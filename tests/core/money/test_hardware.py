"""The backends' hours among the ledger's requests, row after row."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace
from rigs.ledger import WALL, receipt

from modgate.api.sink import Attempt
from modgate.ledger.records import Ended, ended_of
from modgate.money.hardware import Hardware, shared
from modgate.money.invoice import Span

WEIGHTS = {"llm": {"output_tokens": 1.0}}
HOUR_S = 3600
COST = 2_500_001  # no multiple of anything


def tried(backend: str, began_s: float, ended_s: float, state: str = "ok") -> Attempt:
    return Attempt(
        call=0,
        backend=backend,
        region="eu",
        model="chat",
        began_s=began_s,
        span="",
        ended_s=ended_s,
        state=state,
    )


def row(name: str, at_s: float, *tries: Attempt, tenant: str = "acme", tokens: int = 7) -> Ended:
    last_s = max((each.ended_s or 0.0 for each in tries), default=0.0)
    made = receipt(name, tenant=tenant, tokens=tokens, attempts=tries)
    return ended_of(replace(made, wall=WALL + at_s, duration_s=last_s))


def of(rows: list[Ended], hours: int = 1, **costs: int) -> Hardware:
    span = Span.of(WALL, WALL + hours * HOUR_S)
    made = Hardware(costs or {"eu-1": COST}, WEIGHTS, ("tenant",), span)
    return shared(made, rows, WALL + 1000 * HOUR_S)


def whole(found: Hardware) -> int:
    return sum(found.shares.values()) + sum(found.idle.values())


def test_an_hour_is_its_users_and_the_rest_is_idle() -> None:
    found = of([row("a", 0, tried("eu-1", 0, 1800))])

    assert whole(found) == COST
    assert abs(found.shares["acme",] - COST // 2) <= 180  # a slot's part is whole, too


def test_two_who_were_there_pay_by_their_work() -> None:
    rows = [
        row("a", 0, tried("eu-1", 0, HOUR_S), tokens=300),
        row("b", 0, tried("eu-1", 0, HOUR_S), tokens=100, tenant="beta"),
    ]
    found = of(rows, **{"eu-1": 3_600_000})

    assert found.shares == {("acme",): 2_700_000, ("beta",): 900_000}
    assert found.idle == {"eu-1": 0}


def test_the_work_of_a_request_is_where_its_calls_were_by_how_long_they_took() -> None:
    there = replace(tried("eu-2", 0, 1800), call=1)
    rows = [
        row("a", 0, tried("eu-1", 600, 1200), there, tokens=400),
        row("b", 0, tried("eu-1", 600, 1200), tokens=100, tenant="beta"),
    ]
    found = of(rows, **{"eu-1": 3_600_000, "eu-2": 3_600_000})

    assert found.shares == {("acme",): 300_000 + 1_800_000, ("beta",): 300_000}


@pytest.mark.parametrize("state", ["ok", "cancelled"])
def test_an_attempt_that_failed_pays_almost_nothing_where_another_worked(state: str) -> None:
    worked = replace(tried("eu-2", 600, 1200, state), first_s=601.0)
    failed = row("a", 0, tried("eu-1", 0, 600, "failed"), worked)
    other = row("b", 0, tried("eu-1", 0, HOUR_S), tenant="beta")
    found = of([failed, other], **{"eu-1": 3_600_000})

    assert found.shares["beta",] > 3_590_000
    assert whole(found) == 3_600_000


def test_where_all_attempts_failed_the_work_was_theirs() -> None:
    rows = [
        row("a", 0, tried("eu-1", 0, HOUR_S, "failed"), tokens=300),
        row("b", 0, tried("eu-1", 0, HOUR_S), tokens=100, tenant="beta"),
    ]
    found = of(rows, **{"eu-1": 3_600_000})

    assert found.shares == {("acme",): 2_700_000, ("beta",): 900_000}


def test_an_attempt_of_no_time_was_there_and_one_without_an_end_was_not() -> None:
    endless = replace(tried("eu-1", 0, 0), call=1, ended_s=None)
    found = of([row("a", 0, tried("eu-1", 5, 5), endless)])

    assert found.shares == {("acme",): -(-COST // 360)}  # one slot of ten seconds


def test_hours_without_anybody_are_idle_to_the_end_of_the_span() -> None:
    found = of([row("a", 2 * HOUR_S, tried("eu-1", 0, 10))], hours=5)

    assert (found.hours, whole(found)) == (5, 5 * COST)


def test_what_was_used_outside_of_the_span_is_not_in_it() -> None:
    found = of([row("a", -100, tried("eu-1", 0, 50)), row("b", HOUR_S, tried("eu-1", 0, 50))])

    assert (found.shares, found.idle) == ({}, {"eu-1": COST})


@pytest.mark.slow
def test_weeks_of_random_requests_sum_to_the_bill_and_keep_a_days_hours_only() -> None:
    chance = random.Random(7)
    rows = []
    for at in range(800):
        began, lasted = chance.uniform(0, 14 * 86_400), chance.uniform(0, 9000)
        tries = [tried(chance.choice(["eu-1", "eu-2", "paid"]), 0, lasted)]
        rows.append(row(f"r{at}", began, *tries, tenant=chance.choice("abc")))
    rows.sort(key=lambda each: each.wall + each.duration_s)
    made = Hardware(
        {"eu-1": COST, "eu-2": 17}, WEIGHTS, ("tenant",), Span.of(WALL, WALL + 14 * 86_400)
    )
    most = 0
    for each in rows:
        made.add(each)
        most = max(most, len(made._open))
    made.close(WALL + 1000 * 86_400)

    assert whole(made) == 14 * 24 * (COST + 17)
    assert made.late == 0
    assert most <= 30


def test_who_is_told_of_after_his_hour_was_shared_out_is_counted_and_takes_nothing() -> None:
    soon, later = row("a", 0, tried("eu-1", 0, 1800)), row("b", 30 * HOUR_S, tried("eu-1", 0, 60))
    late = row("c", 0, tried("eu-1", 0, HOUR_S), tenant="beta")
    last = row("d", 60 * HOUR_S, tried("eu-1", 0, 60))
    found = of([soon, later, late, last], hours=61)

    assert found.late == 1
    assert ("beta",) not in found.shares
    assert (found.hours, whole(found)) == (61, 61 * COST)


def test_without_a_beginning_it_is_the_first_requests_hour() -> None:
    made = Hardware({"eu-1": COST}, WEIGHTS, ("tenant",), Span())
    elsewhere = row("b", 0, tried("paid", 0, 10))
    rows = [elsewhere, row("a", HOUR_S, tried("eu-1", 0, 10), tried("paid", -HOUR_S, 5))]
    found = shared(made, rows, WALL + 4 * HOUR_S)

    assert found.hours == 3
    assert whole(found) == 3 * COST


def test_without_a_beginning_hours_go_on_to_the_end_and_without_rows_there_are_none() -> None:
    def over(*rows: Ended) -> int:
        made = Hardware({"eu-1": COST}, WEIGHTS, ("tenant",), Span(end=WALL + 5 * HOUR_S))
        return shared(made, rows, WALL + 100 * HOUR_S).hours

    used = row("a", 0, tried("eu-1", 0, 10))
    afterwards = row("b", 40 * HOUR_S, tried("eu-1", 0, 10))

    assert (over(used), over(used, afterwards), over()) == (5, 5, 0)
