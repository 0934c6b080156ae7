"""The contract of scorers is judged by planted bugs: each must be caught by the rule for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import ClassVar

import pytest
from pydantic import BaseModel
from toys.advice import Cool, Kept

from modgate.plugin import AnyAdviser, Candidate, Json, Placement, Signals, Vitals
from modgate.testing import ScorerCase, ScorerContract, Seen

CALL = Placement(model="m", modality="llm", tenant="acme")


def warm(name: str, degrees: float) -> Seen:
    signals = Signals(temperature=degrees)
    return Seen(backend=name, vitals=Vitals(signals=signals, signals_weight=1.0))


CASES = (
    ScorerCase(
        call=CALL,
        candidates=[warm("a", 90), warm("b", 20), Seen(backend="c")],
        says=[3.0, 1.0, 1.0],
    ),
)


class TestCool(ScorerContract):
    scorer = Cool
    cases = CASES


class TestKept(ScorerContract):
    scorer = Kept
    config = {"tenant": "acme", "hardware": "h100"}
    cases = (
        ScorerCase(
            call=CALL,
            candidates=[Seen(backend="a", hardware="h100"), Seen(backend="b")],
            says=[True, False],
        ),
    )


class Scores(Cool):
    """Where the bugs are put."""

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> list[float]:
        return [self.one(each, at) for at, each in enumerate(candidates)]

    def one(self, candidate: Candidate, at: int) -> float:
        signals = candidate.vitals.signals
        hot = signals is not None and (signals.temperature or 0.0) >= self.config.degrees
        return 3.0 if hot else 1.0


class Trusts(Scores):
    def one(self, candidate: Candidate, at: int) -> float:
        signals = candidate.vitals.signals
        degrees: Json = None if signals is None else signals.temperature
        return 1.0 if signals is None else 3.0 if degrees >= self.config.degrees else 1.0


class Places(Scores):
    def one(self, candidate: Candidate, at: int) -> float:
        return 3.0 if at == 0 else 1.0


class Counts(Scores):
    numbers: ClassVar = count(1)

    def one(self, candidate: Candidate, at: int) -> float:
        return 1.0 + 1 / next(self.numbers)


class Forgets(Scores):
    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> list[float]:
        return super().scores(call, candidates, seconds)[:2]


class Excludes(Scores):
    def one(self, candidate: Candidate, at: int) -> float:
        return super().one(candidate, at) - 1


class Calls(Scores):
    def one(self, candidate: Candidate, at: int) -> float:
        socket.socket().close()
        return super().one(candidate, at)


class Sleeps(Scores):
    def one(self, candidate: Candidate, at: int) -> float:
        time.sleep(0.0001)
        return super().one(candidate, at)


class Any(BaseModel):
    """Takes every key."""


class Lax(Scores):
    config_type = Any


class Weighs(BaseModel, frozen=True, extra="forbid"):
    weight: float = 1.0


class Taken(Scores):
    config_type = Weighs


RULES = ScorerContract


@pytest.mark.parametrize(
    ("bug", "rule"),
    [
        (Trusts, RULES.test_whatever_it_sees_it_answers),
        (Places, RULES.test_it_says_the_same_of_a_backend_again_and_wherever_it_stands),
        (Counts, RULES.test_it_says_the_same_of_a_backend_again_and_wherever_it_stands),
        (Forgets, RULES.test_cases_come_out_as_they_say),
        (Excludes, RULES.test_cases_come_out_as_they_say),
        (Calls, RULES.test_cases_come_out_as_they_say),
        (Sleeps, RULES.test_it_keeps_its_budget_with_many_backends),
        (Lax, RULES.test_it_is_declared_well),
        (Taken, RULES.test_it_is_declared_well),
    ],
)
def test_a_planted_bug_is_caught(
    bug: type[AnyAdviser], rule: Callable[[ScorerContract], None]
) -> None:
    planted = type("Planted", (ScorerContract,), {"scorer": bug, "cases": CASES})()

    with pytest.raises(AssertionError):
        rule(planted)


def test_a_scorer_without_cases_is_told_so() -> None:
    planted = type("Planted", (ScorerContract,), {"scorer": Cool})()

    with pytest.raises(AssertionError, match="checked by nothing"):
        planted.test_cases_come_out_as_they_say()
