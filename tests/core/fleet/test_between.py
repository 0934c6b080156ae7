"""The gaps of a stream: what is seen of them, what counts as kept and broken, and what follows."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from sys import getrefcount

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modgate.fleet.health import PROBATION
from modgate.fleet.pick import Choice, Wanted
from modgate.fleet.pool import Pool
from modgate.fleet.promise import STALLS_S, Promise
from modgate.fleet.promise_record import BROKEN_LEAST, SAMPLES, PromiseRecord
from modgate.fleet.slots import Seat, Slots, seed_of
from modgate.fleet.terms import Terms

TARGET_S = 0.06
STREAM = Terms(
    slo="gold", phase="first_byte", target_s=1.0, between_s=TARGET_S, between_objective=0.99
)
WHOLE = Terms(slo="gold", phase="total", target_s=1.0)
EVENTS = 11
FIRST_S = 0.02


def seat(name: str = "a") -> Seat:
    made = Seat(backend=name, region="", slots=Slots(limit=8), key=name, seed=seed_of(name))
    for phase in ("first_byte", "total"):
        made.standing.paces[phase].learn(0.0, 1e-4)
    for _ in range(PROBATION):
        made.health.succeeded(0.0)
    return made


def stream(at: Seat, gap_s: float, *, now: float = 0.0, terms: Terms = STREAM) -> Promise:
    """One that ended well, with so much between two of its events."""
    promise = Promise(Choice(at, 100.0, 0.01, "fit"), 100.0, terms, now)
    promise.first(now + FIRST_S)
    promise.end(now + FIRST_S + (EVENTS - 1) * gap_s, ok=True, events=EVENTS)
    return promise


def counted(at: Seat) -> tuple[int, int]:
    """Streams of the class that were judged by their gaps, and those late."""
    kept = at.standing.record_of("gold", "between").all
    return kept.n, kept.bad


def test_a_stream_is_judged_by_its_gaps_apart_from_its_first_event() -> None:
    here = seat()
    slow = stream(here, 2 * TARGET_S)
    first = here.standing.record_of("gold", "first_byte").promised

    assert slow.between_ratio == pytest.approx(2.0)
    assert (slow.ratio, slow.broke) == (FIRST_S, "between")
    assert counted(here) == (1, 1)
    assert (first.n, first.bad) == (1, 0)


@settings(derandomize=True, deadline=None)
@given(
    gap_s=st.floats(0.001, 0.2),
    pause_s=st.floats(0, 100),
    events=st.integers(2, 500),
)
def test_while_nobody_read_nothing_was_late(gap_s: float, pause_s: float, events: int) -> None:
    ratios = []
    for unread_s in (0.0, pause_s):
        promise = Promise(Choice(seat(), 1.0, 0.01, "fit"), 1.0, STREAM, 0.0)
        promise.first(FIRST_S)
        end = FIRST_S + (events - 1) * gap_s + unread_s
        promise.end(end, ok=True, events=events, unread_s=unread_s)
        ratios.append(promise.between_ratio)

    assert ratios[1] == pytest.approx(ratios[0])


@pytest.mark.parametrize(
    ("ended", "events", "after_s", "seen"),
    [
        ("ok", 11, 10 * 0.05, (1, 0)),
        ("ok", 1, 9.0, (0, 0)),  # it has no gap
        ("left", 11, 11 * 0.05, (1, 0)),  # as far as it came, it was in time
        ("left", 11, 10 * 0.05 + 2.0, (1, 1)),  # and then it stalled until nobody waited
        ("left", 1, 0.01, (0, 0)),  # of one event nothing can be said
        ("left", 1, 2.0, (1, 1)),  # but that the next one is late
        ("given_up", 11, 60.0, (1, 1)),
        ("failed", 11, 11 * 0.05, (0, 0)),  # what an engine breaks off is not in time
        ("failed", 11, 11 * 0.07, (1, 1)),
    ],
)
def test_the_gap_in_which_a_stream_was_cut_counts(
    ended: str, events: int, after_s: float, seen: tuple[int, int]
) -> None:
    here = seat()
    promise = Promise(Choice(here, 1.0, 0.01, "fit"), 1.0, STREAM, 0.0)
    promise.first(FIRST_S)
    promise.end(
        FIRST_S + after_s,
        ok=ended == "ok",
        events=events,
        left=ended == "left",
        given_up=ended == "given_up",
    )

    assert counted(here) == seen


def test_where_nothing_is_promised_gaps_are_seen_and_not_judged() -> None:
    here = seat()
    promise = stream(here, 0.5, terms=replace(STREAM, between_s=0.0))

    assert here.standing.between_s == pytest.approx(0.5)
    assert here.standing.times["between"].n == 1
    assert promise.broke == ""
    assert ("gold", "between") not in here.standing.records


def test_a_gap_that_was_to_be_expected_breaks_no_promise() -> None:
    here = seat()
    here.standing.between_s = 0.9 * TARGET_S
    stream(here, 2 * TARGET_S)
    kept = here.standing.record_of("gold", "between")

    assert (kept.all.n, kept.promised.n) == (1, 0)


def test_one_stall_is_no_verdict_and_five_in_a_row_are() -> None:
    here = seat()
    for _ in range(30):
        stream(here, 0.02)
    stream(here, 30.0)
    assert here.standing.between_s < TARGET_S
    for _ in range(4):
        stream(here, 30.0)

    assert here.standing.between_s > TARGET_S


@settings(derandomize=True, deadline=None)
@given(good=st.integers(0, 200), bad=st.integers(0, 200))
@example(good=19, bad=1)
@example(good=18, bad=2)
def test_an_objective_of_99_is_not_broken_by_an_accident(good: int, bad: int) -> None:
    kept = PromiseRecord()
    for ratio in [0.5] * good + [2.0] * bad:
        kept.judge(0.0, predicted=0.1, ratio=ratio)
    breaks = kept.breaks(0.0, 0.01)

    if good + bad < SAMPLES or bad < BROKEN_LEAST or bad <= 0.01 * (good + bad):
        assert not breaks
    if bad >= BROKEN_LEAST and good + bad >= SAMPLES and bad >= 0.1 * (good + bad):
        assert breaks


Gap = Callable[[str, int, float], float]


class World:
    """Three engines, four streams a second of one class, and what each engine's gaps are.

    `gap(engine, its streams so far, now)`.
    """

    def __init__(self, gap: Gap) -> None:
        self.seats = [seat(name) for name in "abc"]
        self.pool = Pool(self.seats)
        self.rng = random.Random(7)
        self.gap = gap
        self.terms = replace(STREAM, between_objective=0.99)
        self.now = 1.0
        self.calls: list[tuple[float, str]] = []
        self.found_fit = 0  # calls that went to the first engine of themselves

    def until(self, end: float) -> None:
        while self.now < end:
            self.now += 0.25
            choice = self.pool.choose(
                self.seats, Wanted(work=100.0, terms=self.terms), self.now, self.rng
            )
            assert choice is not None
            name = choice.seat.backend
            gap_s = self.gap(name, sum(n == name for _, n in self.calls), self.now)
            self.calls.append((self.now, name))
            self.found_fit += name == "a" and choice.why == "fit"
            promise = Promise(choice, 100.0, self.terms, self.now)
            promise.first(self.now + FIRST_S * self.rng.uniform(0.5, 1.5))
            promise.end(self.now + 0.2, ok=True, events=1 + max(1, round(0.18 / gap_s)))

    @property
    def out(self) -> bool:
        """Whether the first engine is disqualified."""
        return ("gold", "between") in self.seats[0].standing.out

    def share(self, since: float) -> float:
        """Of calls since then that went to the first engine."""
        names = [name for at, name in self.calls if at > since]
        return names.count("a") / len(names)


def slow(name: str, number: int, now: float) -> float:
    """One whose gaps are too long until it is mended."""
    return 0.09 if name == "a" and now < 120 else 0.02


def stalls(name: str, number: int, now: float) -> float:
    """One of which each fifth stream is much too slow, so that the mean is not."""
    return 0.18 if name == "a" and number % 5 == 4 and now < 120 else 0.02


@pytest.mark.parametrize("gap", [slow, stalls])
def test_who_breaks_it_is_left_by_the_class_and_comes_back_when_it_is_mended(gap: Gap) -> None:
    world = World(gap)
    world.until(60.0)
    assert world.out
    world.until(120.0)
    assert world.out
    assert world.share(60.0) < 0.05  # one each ten seconds, to find out
    before = world.found_fit
    world.until(420.0)

    assert not world.out
    assert world.found_fit > before + 10


@pytest.mark.slow
def test_what_it_was_for_long_is_forgotten_when_it_returns() -> None:
    world = World(lambda name, number, now: 0.18 if name == "a" and now < 900 else 0.02)
    world.until(1200.0)

    assert not world.out
    assert world.seats[0].standing.record_of("gold", "between").left_at < 60  # and never again


def test_what_is_never_mended_is_only_tried_now_and_then() -> None:
    world = World(lambda name, number, now: 0.09 if name == "a" else 0.02)
    world.until(600.0)

    assert world.share(60.0) < 0.05


def test_whole_replies_of_the_class_go_where_its_streams_do_not() -> None:
    world = World(slow)
    world.until(60.0)
    assert world.out
    chosen = set()
    for number in range(60):
        choice = world.pool.choose(
            world.seats, Wanted(work=100.0, terms=WHOLE), 61.0 + number / 100, world.rng
        )
        assert choice is not None
        chosen.add(choice.seat.backend)

    assert "a" in chosen


def test_without_room_to_spare_nobody_leaves_and_the_mean_still_decides() -> None:
    world = World(slow)
    world.pool.elsewhere = 1e9  # what others ask of these engines
    world.until(60.0)

    assert not world.out
    assert world.share(30.0) == 0.0


@dataclass(slots=True)
class Reply:
    """A stream that came so far."""

    events: int = EVENTS
    unread_s: float = 0.0
    silent_s: float = 0.0


def opened(at: Seat, reply: Reply, terms: Terms = STREAM) -> Promise:
    promise = Promise(Choice(at, 1.0, 0.01, "fit"), 1.0, terms, 0.0)
    promise.first(FIRST_S, reply)
    return promise


@pytest.mark.parametrize(
    ("silent_s", "unread_s", "seen"),
    [
        (STALLS_S, 0.0, (1, 1)),
        (STALLS_S - 0.1, 0.0, (0, 0)),
        (0.0, 0.0, (0, 0)),  # nobody reads
        (STALLS_S, STALLS_S, (0, 0)),  # without the time in which nobody did it is not late yet
    ],
)
def test_a_stream_that_stalls_is_counted_before_it_is_cut(
    silent_s: float, unread_s: float, seen: tuple[int, int]
) -> None:
    here, reply = seat(), Reply(silent_s=silent_s, unread_s=unread_s)
    pool = Pool([here, seat("b")])
    opened(here, reply)
    pool.sweep(FIRST_S + STALLS_S + 0.1)

    assert counted(here) == seen


def test_a_stream_counts_once_however_it_ends_and_is_forgotten_then() -> None:
    here, reply = seat(), Reply(silent_s=60.0)
    pool = Pool([here, seat("b")])
    stalled, lively = opened(here, reply), opened(here, Reply())
    for now in (60.0, 61.0, 62.0):
        pool.sweep(now)
    stalled.end(70.0, ok=True, events=10_000)
    lively.end(70.0, ok=False, events=EVENTS, given_up=True)

    assert stalled.broke == "between"
    assert counted(here) == (2, 2)
    assert here.standing.open == set()
    assert getrefcount(reply) == 2  # this name, and the question


def test_no_stream_is_looked_at_of_which_nothing_is_promised() -> None:
    here = seat()
    opened(here, Reply(), replace(STREAM, between_s=0.0))

    assert here.standing.open == set()
