"""The contract of a policy: `class TestX(PolicyContract): policy = X`, and its rules are the tests.

A policy decides over cases that its author writes: the calls of a plan, what engines answer to what
is asked, and what must come out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import orjson
from hypothesis import given
from hypothesis import strategies as st

from modgate.api.auth import Caller
from modgate.api.body import Body
from modgate.api.json import Json
from modgate.api.model import Model
from modgate.api.need import Ask
from modgate.api.plan import Call, Plan
from modgate.api.policy import EVERY_SECTION, Allow, AnyPolicy, Decision, Deny, Narrow
from modgate.api.relay import Event, Outcome, Relay, Usage
from modgate.api.request import Request
from modgate.errors import GatewayError, UpstreamFailed
from modgate.http.surfaces import built_in
from modgate.testing.guards import no_waiting
from modgate.testing.mutate import CHARACTERS
from modgate.testing.rules_declared import sayable
from modgate.testing.suite import fuzzed, require
from modgate.units import NOTHING, Units

ASKS_AT_MOST = 100
ECHO_AT_LEAST = 12  # characters of a body that a message repeats by no accident
CALLER = Caller(tenant="acme", key_id="key")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """A plan, and what becomes of it.

    `answers`: to each Ask in order, the whole replies of its calls, or an error.  `decision`: what
    must come out; a class where the rest of it does not matter.
    """

    calls: Sequence[Call]
    decision: Decision | type[Allow | Deny | Narrow]
    answers: Sequence[Sequence[bytes] | GatewayError] = ()
    reserve: Units | None = None
    parsed: Mapping[str, Json] = field(default_factory=dict)
    modality: str = "llm"
    caller: Caller = CALLER


class _Silent(Relay):
    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        return ()

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(NOTHING)


class PolicyContract:
    """All rules.

    `config`: the section's own keys, where defaults will not do.  `cases`: the more the better.
    """

    policy: ClassVar[type[AnyPolicy]]
    config: ClassVar[Mapping[str, Json]] = {}
    cases: ClassVar[Sequence[PolicyCase]] = ()
    examples: ClassVar[int] = 100

    def _decided(
        self, case: PolicyCase, answer: Callable[[int, Ask], list[Event]]
    ) -> tuple[Decision, list[Ask]]:
        """A fresh policy's decision, and what it asked."""
        kind = self.policy
        plan = Plan(calls=tuple(case.calls), relay=_Silent(), reserve=case.reserve)
        with no_waiting():
            made = kind(kind.config_type.model_validate(self.config))
            deciding = made.decide(case.caller, _request(case), plan)
            if not isinstance(deciding, Generator):
                return deciding, []
            asked: list[Ask] = []
            try:
                need = next(deciding)
                while len(asked) < ASKS_AT_MOST:
                    require(isinstance(need, Ask), "a policy may yield an Ask, and nothing else")
                    asked.append(need)
                    try:
                        given = answer(len(asked) - 1, need)
                    except GatewayError as error:
                        need = deciding.throw(error)
                    else:
                        need = deciding.send(given)
            except StopIteration as stop:
                decision: Decision = stop.value
                return decision, asked
            finally:
                deciding.close()
        raise AssertionError(f"it asked more than {ASKS_AT_MOST} times")

    def test_it_is_declared_well(self) -> None:
        """Its name is words in lower case, its budget above 0, and its keys are its own."""
        kind = self.policy
        require(kind.on_failure in ("open", "closed"), "on_failure is 'open' or 'closed'")
        sayable("policy", kind, self.config, EVERY_SECTION)

    def test_cases_are_decided_as_they_say(self) -> None:
        """Each case; and the policy says more than one thing, or its cases prove little."""
        require(bool(self.cases), "a policy without cases is checked by nothing")
        for index, case in enumerate(self.cases):
            decision, asked = self._decided(case, _answers(case))
            wanted = case.decision
            same = isinstance(decision, wanted) if isinstance(wanted, type) else decision == wanted
            require(same, f"case {index}: {decision}, wanted {wanted}")
            told = f"case {index}: {len(asked)} Asks for {len(case.answers)} answers"
            require(len(asked) == len(case.answers), told)

    def test_deciding_twice_is_deciding_alike(self) -> None:
        """A policy is pure: it asks and decides the same again, and changes no call."""
        for index, case in enumerate(self.cases):
            before = [_sent(call) for call in case.calls]
            first = self._decided(case, _answers(case))
            again = self._decided(case, _answers(case))
            require(first[0] == again[0], f"case {index}: decided twice, and differently")
            require(_all(first[1]) == _all(again[1]), f"case {index}: asked twice, and differently")
            same = [_sent(call) for call in case.calls] == before
            require(same, f"case {index}: a call of the plan was changed")

    def test_it_asks_for_calls_that_can_be_billed(self) -> None:
        """It yields nothing but Asks, whose calls name their model and their size."""
        for index, case in enumerate(self.cases):
            _, asked = self._decided(case, _answers(case))
            for need in asked:
                for call in need.calls:
                    require(call.model is not None, f"case {index}: an asked call names no model")
                    require(bool(call.size), f"case {index}: an asked call has no size")

    def test_a_failed_ask_is_let_through_or_decided(self) -> None:
        """The failure of an engine is no reason to break in another way."""

        def failing(step: int, need: Ask) -> list[Event]:
            raise UpstreamFailed("the engine of a side call does not answer")

        for index, case in enumerate(self.cases):
            if not case.answers:
                continue
            try:
                decision, _ = self._decided(case, failing)
            except GatewayError:
                continue
            told = f"case {index}: a failed Ask is decided {decision!r}"
            require(isinstance(decision, Allow | Deny | Narrow), told)

    def test_garbage_from_an_engine_is_a_bad_reply(self) -> None:
        """Whatever an engine says: a decision, or an error that blames the engine."""
        asking = [case for case in self.cases if case.answers]
        if not asking:
            return

        @fuzzed(self.examples)
        @given(st.sampled_from(asking), _replies())
        def fuzz(case: PolicyCase, said: bytes) -> None:
            try:
                decision, _ = self._decided(case, lambda _, need: [Event(said) for _ in need.calls])
            except GatewayError as error:
                require(error.status >= 500, f"{said!r} of an engine is told as {error.status}")
            except Exception as error:
                raise AssertionError(f"{said!r} of an engine is told as {error!r}") from error
            else:
                require(isinstance(decision, Allow | Deny | Narrow), f"{said!r}: {decision!r}")

        fuzz()

    def test_a_refusal_echoes_nothing(self) -> None:
        """What a client wrote is not in what it is told, nor in a log by way of it."""
        for index, case in enumerate(self.cases):
            decision, _ = self._decided(case, _answers(case))
            if isinstance(decision, Deny):
                texts = [text for call in case.calls for text in _texts(_json(call.body))]
                said = [text for text in texts if text in decision.message]
                require(not said, f"case {index}: the message repeats the body")


def _request(case: PolicyCase) -> Request:
    parsed = dict(case.parsed)
    return Request(
        id="req_" + "0" * 32,
        path=case.calls[0].path if case.calls else "/",
        model=Model(name="m", modality=case.modality),
        asked="m",
        body=Body.of(**parsed),
        surface=built_in()["openai"],
        parsed=parsed,
    )


def _answers(case: PolicyCase) -> Callable[[int, Ask], list[Event]]:
    def answer(step: int, need: Ask) -> list[Event]:
        require(step < len(case.answers), f"the case has no answer for Ask {step}")
        said = case.answers[step]
        if isinstance(said, GatewayError):
            raise type(said)(said.message)
        require(len(said) == len(need.calls), f"Ask {step} has {len(need.calls)} calls")
        return [Event(each) for each in said]

    return answer


def _sent(call: Call) -> object:
    return (call.path, call.body.content, dict(call.size), call.model, call.requires)


def _all(asked: Sequence[Ask]) -> list[object]:
    return [_sent(call) for need in asked for call in need.calls]


def _json(body: Body) -> Json:
    content = body.content
    try:
        return orjson.loads(content) if isinstance(content, bytes) else None
    except orjson.JSONDecodeError:
        return None


def _texts(value: Json) -> Iterator[str]:
    """Every text of a body that is too long to be repeated by accident."""
    if isinstance(value, str) and len(value) >= ECHO_AT_LEAST:
        yield value
    members = value.values() if isinstance(value, dict) else value
    for each in members if isinstance(value, dict | list) else ():
        yield from _texts(each)


def _replies() -> st.SearchStrategy[bytes]:
    """Bytes, JSON of any kind, and objects with the keys that replies have."""
    plain = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False)
    value = st.recursive(
        plain | st.text(CHARACTERS, max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(CHARACTERS, max_size=8), inner, max_size=3)
        ),
        max_leaves=8,
    )
    keys = st.sampled_from(("results", "scores", "flagged", "choices", "data", "error"))
    objects = st.dictionaries(keys, value, max_size=3)
    return st.binary(max_size=40) | (value | objects).map(orjson.dumps)
