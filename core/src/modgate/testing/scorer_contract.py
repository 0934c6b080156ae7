"""The contract of a filter or scorer: `class TestX(ScorerContract): scorer = X`.

It judges cases that its author writes: a call, the backends that it may go to, and what must be
said of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from modgate.api.json import Json
from modgate.api.scorer import (
    EVERY_SCORER,
    LEAST_SCORE,
    MOST_SCORE,
    AnyAdviser,
    Filter,
    Placement,
    Scorer,
)
from modgate.api.vitals import UNKNOWN, Load, Signals, Vitals
from modgate.testing.guards import no_waiting
from modgate.testing.mutate import CHARACTERS
from modgate.testing.rules_declared import sayable
from modgate.testing.suite import fuzzed, require

MANY = 64
TRIES = 20
SOON_S = 0.1
CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A candidate, made up."""

    backend: str
    region: str = ""
    hardware: str = ""
    cost_per_hour: float | None = None
    offers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    slots: int = 16
    taken: int = 0
    work: float = 0.0
    vitals: Vitals = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerCase:
    """A call, the backends that it may go to, and what is said of each of them.

    `seconds`: the predicted time at each; () = the same at all.
    """

    call: Placement
    candidates: Sequence[Seen]
    says: Sequence[bool] | Sequence[float]
    seconds: Sequence[float] = ()


class ScorerContract:
    """All rules.  `config`: the section's own keys, where defaults will not do."""

    scorer: ClassVar[type[AnyAdviser]]
    config: ClassVar[Mapping[str, Json]] = {}
    cases: ClassVar[Sequence[ScorerCase]] = ()
    examples: ClassVar[int] = 200

    def _made(self) -> AnyAdviser:
        kind = self.scorer
        made = kind(kind.config_type.model_validate(self.config))
        assert isinstance(made, Filter | Scorer)
        return made

    def _said(
        self, call: Placement, candidates: Sequence[Seen], seconds: Sequence[float]
    ) -> list[float]:
        """What a fresh one says; of a filter 1 for what it keeps."""
        made = self._made()
        with no_waiting():
            said = _answer(made, call, candidates, seconds)
        text = f"{len(said)} answers to {len(candidates)} candidates"
        require(len(said) == len(candidates), text)
        found = [float(each) for each in said]
        likely = isinstance(made, Filter) or all(LEAST_SCORE <= x <= MOST_SCORE for x in found)
        require(likely, f"scores are from {LEAST_SCORE} to {MOST_SCORE}, and not {found}")
        return found

    def test_it_is_declared_well(self) -> None:
        """Its name is words in lower case, its budget above 0, and its keys are its own."""
        kind = self.scorer
        require(issubclass(kind, Filter | Scorer), f"{kind.__name__} is no Filter and no Scorer")
        sayable("scorer", kind, self.config, EVERY_SCORER)

    def test_cases_come_out_as_they_say(self) -> None:
        """Each case, without a socket."""
        require(bool(self.cases), "a scorer without cases is checked by nothing")
        for index, case in enumerate(self.cases):
            said = self._said(case.call, case.candidates, _seconds(case))
            wanted = [float(each) for each in case.says]
            require(_same(said, wanted), f"case {index}: {said}, wanted {wanted}")

    def test_it_says_the_same_of_a_backend_again_and_wherever_it_stands(self) -> None:
        """It is pure, and looks at what a backend is and not at its place in the list."""
        for index, case in enumerate(self.cases):
            seconds, made = _seconds(case), self._made()
            first = [float(x) for x in _answer(made, case.call, case.candidates, seconds)]
            again = [float(x) for x in _answer(made, case.call, case.candidates, seconds)]
            require(_same(first, again), f"case {index}: asked twice, and {first} then {again}")
            turned = self._said(case.call, case.candidates[::-1], seconds[::-1])[::-1]
            require(_same(first, turned), f"case {index}: {first}, and turned round {turned}")

    def test_whatever_it_sees_it_answers(self) -> None:
        """Also of backends of which nothing is known, and of one alone."""

        @fuzzed(self.examples)
        @given(st.lists(_candidates(), min_size=1, max_size=8), _placements())
        def fuzz(candidates: list[Seen], call: Placement) -> None:
            try:
                self._said(call, candidates, [SOON_S] * len(candidates))
            except AssertionError:
                raise
            except Exception as error:
                raise AssertionError(f"{candidates!r} is answered with {error!r}") from error

        fuzz()

    def test_it_keeps_its_budget_with_many_backends(self) -> None:
        """The quickest of a few answers over 64 of them."""
        made, call = self._made(), Placement(model="m", modality="llm")
        candidates = [Seen(backend=f"b{number}") for number in range(MANY)]
        seconds, times = [SOON_S] * MANY, []
        for _ in range(TRIES):
            began = perf_counter()
            _answer(made, call, candidates, seconds)
            times.append(perf_counter() - began)
        told = f"{min(times):.6f} s for {MANY} candidates, and its budget is {made.budget_s} s"
        require(min(times) <= made.budget_s, told)


def _answer(
    made: AnyAdviser, call: Placement, candidates: Sequence[Seen], seconds: Sequence[float]
) -> Sequence[bool] | Sequence[float]:
    if isinstance(made, Filter):
        return made.keeps(call, candidates)
    assert isinstance(made, Scorer)
    return made.scores(call, candidates, seconds)


def _seconds(case: ScorerCase) -> Sequence[float]:
    return case.seconds or [SOON_S] * len(case.candidates)


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        abs(a - b) <= CLOSE * max(1.0, abs(b)) for a, b in zip(one, other, strict=True)
    )


def _candidates() -> st.SearchStrategy[Seen]:
    """Backends of which all, some or nothing is known."""
    share = st.none() | st.floats(0, 1)
    count = st.none() | st.floats(0, 1e4)
    weight = st.floats(0.01, 1)
    vitals = st.just(UNKNOWN) | st.builds(
        Vitals,
        load=st.none() | st.builds(Load, running=count, waiting=count, kv_use=share),
        load_weight=weight,
        signals=st.none()
        | st.builds(
            Signals,
            gpu_memory=share,
            interconnect=st.none() | st.floats(0, 1e15),
            temperature=st.none() | st.floats(-100, 300),
        ),
        signals_weight=weight,
        well=st.none() | st.booleans(),
    )
    word = st.sampled_from(["", "eu", "us", "h100", "npu"])
    return st.builds(
        Seen,
        backend=st.text(CHARACTERS, min_size=1, max_size=8),
        region=word,
        hardware=word,
        cost_per_hour=st.none() | st.floats(0, 1e6),
        slots=st.integers(1, 1000),
        taken=st.integers(0, 1000),
        work=st.floats(0, 1e9),
        vitals=vitals,
    )


def _placements() -> st.SearchStrategy[Placement]:
    return st.builds(
        Placement,
        model=st.just("m"),
        modality=st.sampled_from(["llm", "asr", "embedding"]),
        tenant=st.sampled_from(["", "acme"]),
        slo=st.sampled_from(["", "gold"]),
        work=st.floats(0, 1e9),
        phase=st.sampled_from(["first_byte", "total"]),
        target_s=st.floats(0.001, 1e4),
    )
