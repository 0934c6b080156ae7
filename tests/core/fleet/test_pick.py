"""The pick, its accounting, and what gateways tell each other: pure, by given times and lots."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.vitals import Load
from modgate.fleet.affinity import Homes, key_of
from modgate.fleet.health import PROBATION
from modgate.fleet.pick import Choice, Wanted, candidates, pick
from modgate.fleet.pool import Pool
from modgate.fleet.promise import Promise
from modgate.fleet.slots import Seat, Slots, seed_of
from modgate.fleet.terms import Terms

SERIAL = Terms(slo="s", phase="first_byte", serial=True, target_s=1.0, between_s=0.06, read=500.0)
WHOLE = Terms(slo="s", phase="total", target_s=1.0)


def seat(
    name: str, pace: float = 1e-4, *, limit: int = 64, taken: int = 0, work: float = 0
) -> Seat:
    made = Seat(backend=name, region="eu", slots=Slots(limit=limit), key=name, seed=seed_of(name))
    for phase in ("first_byte", "total"):
        made.standing.paces[phase].learn(0.0, pace)
    for _ in range(PROBATION):
        made.health.succeeded(0.0)
    for _ in range(taken):
        made.take(work / taken)
    return made


def chosen(
    seats: list[Seat], terms: Terms, work: float = 700.0, *, exact: bool = True, now: float = 1.0
) -> Choice:
    choice = pick(seats, work, terms, now=now, rng=random.Random(1), exact=exact)
    assert choice is not None
    return choice


def test_the_least_time_to_drain_wins_and_not_the_fewest_calls() -> None:
    fast, slow = seat("fast", 1e-5, taken=5, work=5000), seat("slow", 2e-4)

    assert chosen([fast, slow], SERIAL).seat is fast


def test_work_in_hand_counts_for_nothing_while_an_engine_has_free_lanes() -> None:
    busy, idle = seat("busy", 1e-5, taken=5, work=90_000), seat("idle", 2e-5)

    assert chosen([busy, idle], WHOLE).seat is busy
    assert chosen([busy, idle], SERIAL).seat is idle


def test_none_in_time_is_the_best_effort_and_says_so() -> None:
    late, later = seat("late", 2e-3), seat("later", 4e-3)
    choice = chosen([late, later], SERIAL)

    assert (choice.seat, choice.why) == (late, "best_effort")
    assert choice.predicted == pytest.approx(1.4)


def test_a_stream_goes_where_its_gaps_are_kept() -> None:
    fast, steady = seat("fast", 1e-5), seat("steady", 2e-5)
    fast.standing.between_s = 0.07

    assert chosen([fast, steady], SERIAL).seat is steady


def test_no_free_slot_is_no_choice() -> None:
    full = seat("full", limit=1, taken=1)

    assert pick([full], 1.0, SERIAL, now=1.0, rng=random.Random(1), exact=True) is None


def test_an_ejected_engine_gets_nothing_unless_most_are_ejected() -> None:
    seats = [seat(name) for name in "abc"]
    seats[0].health.eject(0.0, random.Random(1).random)
    assert {chosen(seats, SERIAL).seat.backend for _ in range(20)} <= {"b", "c"}
    seats[1].health.eject(0.0, random.Random(1).random)
    seats[1].health.refused = True
    seats[2].health.eject(0.0, random.Random(1).random)

    assert chosen(seats, SERIAL).seat.backend in ("a", "c")


def test_a_new_engine_is_spared_while_others_are_free() -> None:
    new, old = seat("new", 1e-6, taken=4, work=4), seat("old", 1e-4)
    new.health.cap, new.health.calm, new.health.sound = 4, False, False
    assert chosen([new, old], SERIAL).seat is old
    old.slots.limit = 0

    assert chosen([new, old], SERIAL).seat is new


def test_a_disqualified_engine_is_left_out_until_there_is_too_little_without_it() -> None:
    good, bad = seat("good", 1e-4), seat("bad", 1e-4)
    bad.standing.out = frozenset({("s", "first_byte")})
    bad.standing.record_of("s", "first_byte").explored_at = 0.0
    assert chosen([good, bad], SERIAL).seat is good
    assert chosen([good, bad], replace(SERIAL, slo="other"), work=1).seat in (good, bad)
    good.standing.paces["first_byte"].own = good.standing.paces["first_byte"].value = 5e-4
    bad.slots.limit = 1000

    assert chosen([good, bad], SERIAL).seat is bad


def test_where_all_are_disqualified_and_nothing_is_known_all_are_asked() -> None:
    seats = [Seat(backend=name, region="", slots=Slots(limit=1)) for name in "ab"]
    for each in seats:
        each.standing.out = frozenset({("s", "first_byte")})

    assert chosen(seats, replace(SERIAL, explores="never")).seat in seats


def test_a_disqualified_engine_is_looked_at_again_by_those_who_may() -> None:
    good, bad = seat("good"), seat("bad")
    bad.standing.out = frozenset({("s", "first_byte")})
    bad.standing.record_of("s", "first_byte").explored_at = 0.0
    first = replace(SERIAL, explores="first")

    assert chosen([good, bad], first, now=4.0).why == "fit"
    assert chosen([good, bad], first, now=5.0).seat is bad
    assert chosen([good, bad], SERIAL, now=6.0).why == "fit"
    assert chosen([good, bad], SERIAL, now=10.0).why == "explore"
    assert chosen([good, bad], replace(SERIAL, explores="never"), now=99.0).why == "fit"


def test_preferences_decide_between_equals_and_send_nobody_to_a_late_one() -> None:
    dear, cheap = seat("dear"), replace(seat("cheap"), factor=0.5)
    assert chosen([dear, cheap], SERIAL).seat is cheap
    late = replace(seat("late", 2e-3), factor=0.001)

    assert chosen([dear, late], SERIAL).seat is dear


def test_calls_alike_go_home_unless_they_would_wait_there_for_long() -> None:
    seats = [seat(f"e{number}") for number in range(8)]
    key = key_of("acme", "m", b"You are a helpful")
    terms = replace(SERIAL, affinity=key)
    first, second = Homes(seats).of(key)
    assert chosen(seats, terms).seat is first
    first.take(8000)
    assert chosen(seats, terms).seat is second
    second.take(8000)

    assert chosen(seats, terms).why == "fit"
    assert key_of("other", "m", b"You are a helpful") != key


@pytest.mark.parametrize(
    ("others_s", "home_s", "stays"),
    [(0.07, 0.499, True), (0.07, 0.501, False), (0.3, 0.599, True), (0.3, 0.601, False)],
    ids=["half of the target", "more than that", "twice the least wait", "more than that, too"],
)
def test_a_home_is_left_for_a_wait_that_is_neither_short_nor_usual(
    others_s: float, home_s: float, stays: bool
) -> None:
    seats = [seat(f"e{number}") for number in range(8)]
    terms = replace(SERIAL, affinity=key_of("t", "m", b"a"))
    home, _ = Homes(seats).of(terms.affinity or 0)
    for each in seats:
        each.take(((home_s if each is home else others_s) - 0.07) / 1e-4)

    assert (chosen(seats, terms).seat is home) is stays


def test_homes_are_where_the_operator_prefers_until_calls_would_wait_there_for_long() -> None:
    """A prompt that nobody has read yet is at home nowhere: a hash must not send it overseas."""
    near = [seat("near-0"), seat("near-1")]
    away = [replace(seat(f"away-{number}"), factor=1.25) for number in range(6)]
    all_ = [away[0], *near, *away[1:]]
    terms = [replace(SERIAL, affinity=key_of("t", "m", b"%d" % n)) for n in range(100)]
    went = Counter(chosen(all_, each).seat.backend for each in terms)
    assert set(went) == {"near-0", "near-1"}
    assert min(went.values()) > 25
    for each in near:
        each.take(8000)

    busy = [chosen(all_, each) for each in terms]
    assert {choice.seat.backend for choice in busy} == {each.backend for each in away}
    assert Counter(choice.why for choice in busy)["affinity"] > 80  # unless both were near
    alike = [seat("a"), replace(seat("b"), factor=1.05)]
    assert {chosen(alike, each).seat.backend for each in terms} == {"a", "b"}


def test_homes_are_spread_evenly_and_a_seat_that_leaves_moves_only_its_own() -> None:
    seats = [seat(f"10.0.0.{number}:8000") for number in range(12)]
    keys = [key_of("t", "m", b"%d" % number) for number in range(6000)]
    before = [next(Homes(seats).of(key)).backend for key in keys]
    after = [next(Homes(seats[1:]).of(key)).backend for key in keys]
    gone = seats[0].backend

    assert all(300 < n < 750 for n in Counter(before).values())
    assert all(a == b for a, b in zip(before, after, strict=True) if a != gone)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.floats(1e-6, 1e-2),
            st.integers(0, 4),
            st.floats(0, 9000),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=9,
    ),
    st.booleans(),
    st.sampled_from([SERIAL, WHOLE, replace(SERIAL, affinity=12345)]),
)
def test_a_pick_is_free_and_among_its_candidates_whatever_they_have_in_hand(
    drawn: list[tuple[float, int, float, bool, bool]], exact: bool, terms: Terms
) -> None:
    seats = []
    for number, (pace, taken, work, ejected, out) in enumerate(drawn):
        made = seat(f"e{number}", pace, limit=3, taken=taken, work=work)
        if ejected:
            made.health.eject(0.0, lambda: 0.5)
        if out:
            made.standing.out = frozenset({("s", "first_byte")})
        seats.append(made)
    choice = pick(seats, 700.0, terms, now=1.0, rng=random.Random(3), exact=exact)
    free = [each for each in seats if each.free]
    live = [each for each in free if each.health.until <= 1.0]

    assert (choice is None) <= (not live)
    if choice is not None:
        assert choice.seat in free


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["first", "ok", "failed", "carry"])),
        max_size=40,
    )
)
def test_work_in_hand_comes_back_to_nothing_whatever_happens(steps: list[tuple[int, str]]) -> None:
    here = seat("a", limit=9)
    promises = [Promise(Choice(here, 700.0, 0.1, "fit"), 700.0, SERIAL, 0.0) for _ in range(6)]
    for number, (which, what) in enumerate(steps):
        promise, now = promises[which], 1.0 + number
        if what == "first":
            promise.first(now)
        elif what == "carry" and not promise.ended:
            promise.carry(10.0)
        else:
            promise.end(now, ok=what == "ok", events=3)
    for promise in promises:
        promise.end(99.0, ok=True)
        promise.end(99.0, ok=False)

    assert (here.slots.taken, here.standing.work) == (0, 0.0)


def test_a_read_prompt_counts_no_more_and_teaches_the_pace() -> None:
    here = seat("a")
    promise = Promise(chosen([here], SERIAL), 700.0, SERIAL, 0.0)
    assert here.standing.work == 700.0
    promise.first(0.07)
    assert here.standing.work == 200.0
    assert promise.ratio == pytest.approx(0.07)
    promise.end(1.07, ok=True, events=11)

    assert promise.between_ratio == pytest.approx(0.1 / 0.06)
    assert here.standing.paces["first_byte"].value == pytest.approx(1e-4)
    assert here.standing.record_of("s", "first_byte").promised.n == 1


def test_who_breaks_promises_leaves_if_the_others_can_carry_the_load() -> None:
    seats = [seat("a"), seat("b"), seat("c")]
    pool = Pool(seats)
    wanted = Wanted(work=1.0, terms=SERIAL)
    pool.choose(seats, wanted, 1.0, random.Random(1))
    for _ in range(30):
        seats[0].standing.record_of("s", "first_byte").judge(1.5, predicted=0.1, ratio=3.0)
    pool.sweep(2.0)
    assert seats[0].standing.out == {("s", "first_byte")}
    for _ in range(9):
        seats[0].standing.record_of("s", "first_byte").judge(30.0, predicted=0.1, ratio=0.3)
    pool.sweep(31.0)

    assert seats[0].standing.out == set()


def test_who_breaks_promises_stays_where_there_is_no_room_without_it() -> None:
    seats = [seat("a"), seat("b")]
    pool = Pool(seats)
    rng = random.Random(1)
    for number in range(400):
        pool.choose(seats, Wanted(work=5000.0, terms=SERIAL), 1.0 + number / 400, rng)
    for _ in range(30):
        seats[0].standing.record_of("s", "first_byte").judge(1.5, predicted=0.1, ratio=3.0)
    pool.sweep(2.5)

    assert seats[0].standing.out == set()


def test_nothing_known_is_taken_to_be_as_fast_as_the_others_and_in_time() -> None:
    new = Seat(backend="n", region="", slots=Slots(limit=4))
    pool = Pool([new, Seat(backend="o", region="", slots=Slots(limit=4))])
    pool.choose(pool.seats, Wanted(work=100.0, terms=SERIAL), 1.0, random.Random(1))
    assert new.standing.paces["first_byte"].value == pytest.approx(0.005)
    pool.seats[1].standing.paces["first_byte"].learn(1.0, 0.03)
    pool.sweep(3.0)

    assert new.standing.paces["first_byte"].value == pytest.approx(0.03)


def test_residency_comes_before_all_else() -> None:
    eu, us = seat("eu", 1e-2), replace(seat("us", 1e-6), region="us")
    fit = candidates([eu, us], Wanted(regions=frozenset({"eu"})))

    assert chosen(list(fit), SERIAL).seat is eu


def crowded(name: str, waiting: float) -> Seat:
    """An engine that we sent nothing, and in which so many calls wait all the same."""
    made = seat(name, 1e-4)
    for now in (0.0, 1.0):
        made.health.heard(Load(running=8, waiting=waiting), 0, now, 1.0)
    return made


def test_strangers_calls_that_wait_in_an_engine_count_as_its_work() -> None:
    quiet, loud = seat("quiet", 1.2e-4), crowded("loud", 40)
    assert chosen([quiet, loud], SERIAL).seat is quiet
    assert chosen([quiet, crowded("calm", 0)], SERIAL).seat.backend == "calm"
    loud.standing.usual = 100.0
    choice = chosen([loud], SERIAL)

    assert choice.load == pytest.approx(700 + 40 * 100)
    loud.take(9000)
    assert chosen([loud], SERIAL).load == pytest.approx(700 + 9000)  # the larger, not both


def test_an_engine_whose_cache_is_full_gets_nothing_while_another_fits() -> None:
    full, slow = seat("full", 1e-5), seat("slow", 5e-4)
    full.health.heard(Load(kv_use=0.95), 0, 1.0, 1.0)
    for exact in (True, False):
        assert chosen([full, slow], SERIAL, exact=exact).seat is slow
    choice = chosen([full], SERIAL)

    assert (choice.seat, choice.why) == (full, "best_effort")


def test_what_engines_say_fades_with_each_second_and_the_quick_way_is_back() -> None:
    full, slow = seat("full", 1e-5), seat("slow", 5e-4)
    full.health.heard(Load(kv_use=0.95), 0, 1.0, 1.0)
    pool, wanted = Pool([full, slow]), Wanted(work=700.0, terms=SERIAL)
    found = []
    for now in (1.0, 9.0):
        choice = pool.choose(pool.seats, wanted, now, random.Random(1))
        assert choice is not None
        found.append(choice.seat)

    assert found == [slow, full]
    assert full.health.calm


def test_a_share_of_a_full_engine_is_for_where_no_other_has_room() -> None:
    full, slow = seat("full", 1e-6, limit=4), seat("slow", 5e-4, limit=4)
    full.slots.elsewhere, full.slots.share = 4, 2
    assert chosen([full, slow], SERIAL).seat is slow
    slow.slots.elsewhere = 4

    assert chosen([full, slow], SERIAL).seat is full
