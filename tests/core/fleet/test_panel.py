"""Filters and scorers at work: what they change, and that one that breaks changes nothing."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic import BaseModel
from toys.advice import Cool, Home, Kept, Says, Told, Warmth

from modgate.api.scorer import LEAST_SCORE, MOST_SCORE, Placement
from modgate.api.select import Backend
from modgate.api.vitals import UNKNOWN, Signals, Vitals
from modgate.fleet.fleet import Fleet
from modgate.fleet.health import PROBATION
from modgate.fleet.panel import IN_A_ROW, LEFT_OUT_S, FilterVoice, Panel, ScorerVoice, Voice
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms
from modgate.plugin import Candidate, Filter, Json, Scorer, Units

TERMS = Terms(slo="gold", phase="first_byte", target_s=10.0)
REQUIRES = (("voice", "alto"),)
HOT = Vitals(signals=Signals(temperature=90.0), signals_weight=1.0)
Said = Callable[[str, float], Vitals]


class World:
    """Two backends that are as good as each other, `b0` and `b1`, b1 on an h100; and a panel."""

    def __init__(
        self,
        *,
        filters: Sequence[Filter[Home]] = (),
        scorers: Sequence[Scorer[BaseModel]] = (),
        vitals: Said = lambda identity, now: UNKNOWN,
        weight: float = 1.0,
        budget_s: float = 1.0,
    ) -> None:
        self.now = 1000.0
        self.took_s = 0.0
        self.faults: list[str] = []
        self.voices = [self._voice(budget_s) for _ in (*filters, *scorers)]
        panel = Panel(
            "m",
            "llm",
            filters=[
                FilterVoice(voice=voice, keeps=each.keeps)
                for voice, each in zip(self.voices, filters, strict=False)
            ],
            scorers=[
                ScorerVoice(voice=voice, scores=each.scores, weight=weight)
                for voice, each in zip(self.voices[len(filters) :], scorers, strict=True)
            ],
            vitals=vitals,
        )
        backends = [
            Backend(
                name=f"b{at}",
                family="home",
                url=f"http://b{at}",
                serves={"m": "e"},
                slots=100_000,
                hardware="h100" if at else "a10",
            )
            for at in range(2)
        ]
        self.fleet = Fleet(
            backends,
            FleetState(),
            groups={},
            rng=random.Random(1),
            now=lambda: self.now,
            panels={"m": panel},
        )
        for health in self.fleet.state.health.values():
            for _ in range(PROBATION):
                health.succeeded(self.now)

    def _voice(self, budget_s: float) -> Voice:
        return Voice(
            name="s",
            origin="toys",
            budget_s=budget_s,
            note=lambda name, fault: self.faults.append(fault),
            timer=self._timer,
        )

    def _timer(self) -> float:
        self.now += self.took_s
        return self.now

    def went_to(
        self, calls: int = 20, tenant: str = "acme", affinity: int | None = None
    ) -> set[str]:
        """The backends of so many calls."""
        terms = replace(TERMS, affinity=affinity)
        wanted = Wanted(
            work=1.0, terms=terms, tenant=tenant, size=Units(input_tokens=3), requires=REQUIRES
        )
        leases = [self.fleet.at_once("m", wanted) for _ in range(calls)]
        return {lease.backend.name for lease in leases if lease is not None}


def says(does: str) -> Says:
    return Says(Told.model_validate({"does": does}))


def test_a_scorer_decides_between_backends_that_are_as_good() -> None:
    assert World().went_to() == {"b0", "b1"}
    assert World(scorers=[says("like-b1")]).went_to() == {"b1"}
    assert World(scorers=[says("like-b1")], weight=0.0).went_to() == {"b0", "b1"}


def test_scores_are_multiplied() -> None:
    cool, vitals = Cool(Warmth(factor=99.0)), _hot("b1")

    assert World(scorers=[cool], vitals=vitals).went_to() == {"b0"}
    assert World(scorers=[cool, says("like-b1")], vitals=vitals).went_to() == {"b1"}
    assert World(scorers=[cool, cool, says("like-b1")], vitals=vitals).went_to() == {"b0"}


def test_what_engines_say_is_shown_anew_each_second() -> None:
    temperature = [20.0]

    def vitals(identity: str, now: float) -> Vitals:
        degrees = temperature[0] if identity.endswith("b1") else 20.0
        return Vitals(signals=Signals(temperature=degrees), signals_weight=1.0)

    world = World(scorers=[Cool(Warmth())], vitals=vitals)
    assert world.went_to() == {"b0", "b1"}
    temperature[0] = 95.0
    world.now += 1.1

    assert world.went_to() == {"b0"}


def test_calls_stay_at_home_unless_another_is_liked_more_than_twice_as_much() -> None:
    homes = []
    for scorer in (Cool(Warmth(factor=1.9)), Cool(Warmth(factor=2.1))):
        world = World(scorers=[scorer], vitals=lambda identity, now: HOT)
        home = next(iter(world.went_to(1, affinity=12345)))
        hot = World(scorers=[scorer], vitals=_hot(home))
        homes.append(hot.went_to(affinity=12345) == {home})

    assert homes == [True, False]


def _hot(name: str) -> Said:
    return lambda identity, now: HOT if identity.endswith(name) else UNKNOWN


def test_a_filter_keeps_calls_where_it_says_unless_it_leaves_nobody() -> None:
    kept = Kept(Home(tenant="acme", hardware="h100"))
    world = World(filters=[kept])
    assert world.went_to(tenant="acme") == {"b1"}
    assert world.went_to(tenant="globex") == {"b0"}
    nowhere = World(filters=[Kept(Home(tenant="acme", hardware="tpu"))])

    assert nowhere.went_to(tenant="acme") == {"b0", "b1"}
    assert nowhere.faults == []


@pytest.mark.parametrize(
    ("does", "fault"),
    [
        *(("raise", "exception"), ("words", "exception")),
        *(("short", "nonsense"), ("nan", "nonsense"), ("huge", "nonsense")),
    ],
)
def test_one_that_breaks_is_passed_over_and_after_a_few_times_left_out(
    does: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(scorers=[says(does), says("like-b1")])
    assert world.went_to(100) == {"b1"}  # the other one counts all the same
    assert world.faults == [fault] * IN_A_ROW
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["scorer failed", "scorer left out"]
    world.now += LEFT_OUT_S
    world.went_to(1)

    assert len(world.faults) == IN_A_ROW + 1


class Touchy(float):
    """A number, and no yes or no, that breaks when it is looked at."""

    def __bool__(self) -> bool:
        raise ValueError("the truth of it is ambiguous")


class Picky(Filter[Home]):
    """A filter whose answers are as long as they should be, and break later."""

    name = "picky"
    config_type = Home

    def keeps(self, call: Placement, candidates: Sequence[Candidate]) -> list[bool]:
        odd: Json = [Touchy(1.0) for _ in candidates]
        flags: list[bool] = odd
        return flags


class Exact(Scorer[Home]):
    """Scores that are no floats, and cannot be multiplied with one."""

    name = "exact"
    config_type = Home

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> list[float]:
        odd: Json = [Decimal("0.02" if each.backend == "b1" else "1") for each in candidates]
        scores: list[float] = odd
        return scores


class Gone(Exact):
    """One that wants to end the program."""

    name = "gone"

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> list[float]:
        sys.exit(3)


class Often(Scorer[Home]):
    """One that says what it is told to, and counts how often it is asked."""

    name = "often"
    config_type = Home

    def __init__(self, said: list[float]) -> None:
        super().__init__(Home(tenant="acme", hardware=""))
        self.said = said
        self.asked = 0

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> list[float]:
        self.asked += 1
        return self.said


def test_an_answer_that_breaks_when_it_is_read_fails_no_call() -> None:
    home = Home(tenant="acme", hardware="h100")
    picky = World(filters=[Picky(home)])
    assert picky.went_to() == {"b0", "b1"}
    assert picky.faults == ["exception"] * IN_A_ROW
    gone = World(scorers=[Gone(home)])
    assert gone.went_to() == {"b0", "b1"}
    assert gone.faults == ["exception"] * IN_A_ROW

    assert World(scorers=[Exact(home)], weight=1.5).went_to() == {"b1"}
    assert World(scorers=[Exact(home)]).went_to() == {"b1"}


def test_one_that_takes_too_long_is_heard_and_then_left_out() -> None:
    world = World(scorers=[says("like-b1")], budget_s=0.01)
    world.took_s = 0.02
    assert world.went_to(IN_A_ROW) == {"b1"}
    assert world.faults == ["budget"] * IN_A_ROW
    world.took_s = 0.0

    assert world.went_to() == {"b0", "b1"}


def test_a_scorer_sees_the_call_and_its_candidates_and_is_not_asked_about_one() -> None:
    seen: list[tuple[Placement, list[tuple[str, str, int, float]], Sequence[float]]] = []

    class Sees(Scorer[Told]):
        name = "sees"
        config_type = Told

        def scores(
            self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
        ) -> list[float]:
            found = [(each.backend, each.hardware, each.taken, each.work) for each in candidates]
            seen.append((call, found, seconds))
            return [1.0] * len(candidates)

    kept = Kept(Home(tenant="acme", hardware="h100"))
    World(filters=[kept], scorers=[Sees(Told(does="late"))]).went_to(3)
    assert seen == []
    world = World(scorers=[Sees(Told(does="late"))])
    world.went_to(1)
    [(call, candidates, seconds)] = seen

    assert call == Placement(
        model="m",
        modality="llm",
        tenant="acme",
        slo="gold",
        size=Units(input_tokens=3),
        work=1.0,
        phase="first_byte",
        target_s=10.0,
        requires=REQUIRES,
    )
    assert candidates == [("b0", "a10", 0, 0.0), ("b1", "h100", 0, 0.0)]
    assert len(seconds) == 2


@pytest.mark.parametrize(
    ("scores", "heard"),
    [
        ([LEAST_SCORE, MOST_SCORE], True),
        ([LEAST_SCORE / 2, 1.0], False),
        ([1.0, MOST_SCORE * 2], False),
        ([1.0, float("nan")], False),
        ([float("nan"), 1.0], False),
        ([1.0], False),
    ],
)
@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_scores_are_within_bounds_or_none_is_heard(
    scores: list[float], heard: bool, weight: float
) -> None:
    world = World(scorers=[Often(scores)], weight=weight)
    world.went_to(1)

    assert world.faults == ([] if heard else ["nonsense"])


def test_it_is_left_out_for_faults_in_a_row_only() -> None:
    good, bad = [1.0, 1.0], [0.0, 0.0]
    scores = Often(good)
    world = World(scorers=[scores])

    def judged(faults: int) -> int:
        scores.said = bad
        world.went_to(faults)
        scores.said = good
        world.went_to(1)
        return scores.asked

    assert judged(IN_A_ROW - 1) == IN_A_ROW
    assert judged(IN_A_ROW - 1) == 2 * IN_A_ROW
    assert judged(IN_A_ROW) == 3 * IN_A_ROW  # left out by now
    world.now += LEFT_OUT_S
    assert judged(1) == 3 * IN_A_ROW + 2


def test_a_filter_that_says_too_much_is_passed_over() -> None:
    class Chatty(Kept):
        def keeps(self, call: Placement, candidates: Sequence[Candidate]) -> list[bool]:
            return [True, False, False]

    world = World(filters=[Chatty(Home(tenant="acme", hardware="h100"))])

    assert world.went_to(IN_A_ROW) == {"b0", "b1"}
    assert world.faults == ["nonsense"] * IN_A_ROW


def test_where_nothing_is_free_nobody_is_asked() -> None:
    world = World(scorers=[says("raise")])
    for slots in world.fleet.state.slots.values():
        slots.limit = 0

    assert world.went_to() == set()
    assert world.faults == []
