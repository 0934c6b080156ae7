"""Why each seat was or was not the one is told as it was at the pick, whatever happened since."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from modgate.fleet.drain import drain_s
from modgate.fleet.health import PROBATION
from modgate.fleet.pick import Wanted, candidates
from modgate.fleet.pool import Pool
from modgate.fleet.pool_state import PoolState
from modgate.fleet.reasons import considered, missed
from modgate.fleet.slots import Seat, Slots
from modgate.fleet.terms import Terms

TERMS = Terms(slo="gold", phase="total", target_s=1.0)
WANTED = Wanted(work=1.0, terms=TERMS)


def seat(name: str, *, pace: float = 0.1, region: str = "eu", limit: int = 8) -> Seat:
    """A healthy engine that takes so many seconds a unit of work."""
    made = Seat(backend=name, region=region, slots=Slots(limit=limit), key=name)
    for _ in range(PROBATION):
        made.health.succeeded(0.0)
    made.standing.paces["total"].learn(0.0, pace)
    return made


def told(
    seats: Sequence[Seat], wanted: Wanted = WANTED, *, now: float = 1.0, exact: bool = True
) -> dict[str, str]:
    """By backend: why it was left out, else what came of it."""
    pool = Pool(seats, exact=exact)
    choice = pool.choose(candidates(seats, wanted), wanted, now, random.Random(7))
    assert choice is not None
    found = considered(choice, wanted)
    assert [each.seat for each in found] == list(seats)
    assert [each.seat for each in found if each.outcome == "chosen"] == [choice.seat]
    return {each.seat.backend: each.left_out or each.outcome for each in found}


def test_where_nothing_is_wrong_all_are_compared() -> None:
    found = told([seat("a"), seat("b", pace=0.2), seat("c", pace=0.9)])

    assert found == {"a": "chosen", "b": "other", "c": "unsure"}


def test_the_prediction_that_is_told_is_the_one_of_the_pick() -> None:
    seats = [seat("a", pace=0.1), seat("b", pace=0.4)]
    pool = Pool(seats)
    choice = pool.choose(seats, WANTED, 1.0, random.Random(7))
    assert choice is not None
    for each in seats:  # much is learned since
        each.standing.paces["total"].learn(2.0, 9.0)
    predicted = {each.seat.backend: each.predicted_s for each in considered(choice, WANTED)}

    assert predicted == {"a": 0.1, "b": 0.4}


def test_a_preference_is_in_the_score_and_not_in_the_prediction() -> None:
    seats = [seat("a"), replace(seat("b"), factor=1.5)]
    choice = Pool(seats).choose(seats, WANTED, 1.0, random.Random(7))
    assert choice is not None
    [_, other] = considered(choice, WANTED)

    assert other.predicted_s == 0.1
    assert other.score_s is not None
    assert round(other.score_s, 9) == 0.15


def test_each_filter_has_its_word() -> None:
    busy, ejected, full, out = seat("busy", limit=1), seat("ejected"), seat("full"), seat("out")
    busy.take(1.0)
    ejected.health.eject(0.5, lambda: 0.5)
    full.health.saturated(0.5, 10.0)
    out.standing.out = frozenset({("gold", "total")})
    out.standing.record_of("gold", "total").explored_at = 1.0
    far, failed, good = seat("far", region="us"), seat("failed"), [seat(f"g{n}") for n in range(3)]
    found = told(
        [busy, ejected, full, out, far, failed, *good],
        Wanted(work=1.0, regions=frozenset({"eu"}), tried=frozenset({"failed"}), terms=TERMS),
    )

    assert found == {
        "busy": "no_slot",
        "ejected": "ejected",
        "full": "saturated",
        "out": "disqualified",
        "far": "region",
        "failed": "tried",
    } | {each.backend: found[each.backend] for each in good}
    assert {found[each.backend] for each in good} == {"chosen", "other"}


def test_what_the_call_requires_and_what_failed_others_is_told() -> None:
    plain = replace(seat("plain"), offers={"adapter": frozenset({"x"})})
    able, shaky = seat("able"), seat("shaky")
    shaky.health.failed(0.5, refused=False)
    wanted = Wanted(
        work=1.0,
        requires=(("adapter", "y"),),
        tried=frozenset({"gone"}),
        terms=TERMS,
    )

    found = told([plain, able, shaky], wanted)

    assert found == {"plain": "requires", "able": "chosen", "shaky": "passed_over"}


def test_of_a_sample_the_others_were_not_compared() -> None:
    found = told([seat(f"s{n}") for n in range(16)], exact=False)

    assert list(found.values()).count("not_compared") == 13


def test_an_explorer_is_the_one_though_it_was_not_compared() -> None:
    out, good = seat("out"), [seat("a"), seat("b")]
    out.standing.out = frozenset({("gold", "total")})
    found = told([out, *good], now=100.0)

    assert found["out"] == "chosen"
    assert set(found.values()) == {"chosen", "not_compared"}


def test_a_call_that_found_none_is_told_what_it_met() -> None:
    busy, ejected, out, free = seat("busy", limit=1), seat("ejected"), seat("out"), seat("free")
    busy.take(1.0)
    ejected.health.eject(0.5, lambda: 0.5)
    out.standing.out = frozenset({("gold", "total")})
    slow = seat("slow", pace=0.8)
    far, failed = seat("far", region="us"), seat("failed")
    seats = [busy, ejected, out, free, slow, far, failed]
    pool_state, seconds = PoolState.of(seats, 1.0), drain_s(seats, 1.0, TERMS)
    busy.give(1.0)
    wanted = Wanted(
        work=1.0,
        regions=frozenset({"eu"}),
        tried=frozenset({"failed"}),
        terms=replace(TERMS, unmet="queue"),
    )

    assert {each.seat.backend: each.left_out for each in missed(pool_state, seconds, wanted)} == {
        "busy": "no_slot",
        "ejected": "ejected",
        "out": "disqualified",
        "free": "others_wait",
        "slow": "late",
        "far": "region",
        "failed": "tried",
    }
