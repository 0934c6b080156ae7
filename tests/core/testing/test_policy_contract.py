"""The contract of policies is judged by planted bugs: each must be caught by the rule for it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import suppress
from itertools import count
from typing import ClassVar

import pytest
from pydantic import BaseModel

from modgate.plugin import (
    Allow,
    Ask,
    Body,
    Call,
    Caller,
    Decision,
    Deny,
    Fetch,
    GatewayError,
    Json,
    Plan,
    PlanPolicy,
    Request,
    Units,
)
from modgate.testing import PolicyCase, PolicyContract

BAD, FINE = "something that is bad", "something nice"
Deciding = Generator[Ask, Json, Decision]


class Config(BaseModel, frozen=True, extra="forbid"):
    """Nothing to set."""


class Clean(PlanPolicy[Config]):
    """Asks whether a prompt is flagged; keeps its contract."""

    name = "clean"
    config_type: ClassVar[type[BaseModel]] = Config

    def decide(self, caller: Caller, request: Request, plan: Plan) -> Deciding:
        [event] = yield Ask([self.asked(plan)])
        if event.fields().flag("flagged"):
            return self.denied(plan)
        return Allow()

    def asked(self, plan: Plan) -> Call:
        size = Units(characters=1)
        return Call(path="/judge", body=Body.of(text=self.text(plan)), size=size, model="judge")

    def text(self, plan: Plan) -> str:
        [call] = plan.calls
        return call.body.members()["prompt"].decode()

    def denied(self, plan: Plan) -> Deny:
        return Deny(code="flagged", message="this prompt may not be sent")


def cases() -> tuple[PolicyCase, ...]:
    return tuple(
        PolicyCase(
            calls=[Call(path="/v1/completions", body=Body.of(prompt=prompt))],
            answers=[[b'{"flagged":true}' if prompt == BAD else b'{"flagged":false}']],
            decision=Deny if prompt == BAD else Allow(),
        )
        for prompt in (BAD, FINE)
    )


class TestClean(PolicyContract):
    policy = Clean
    cases = cases()


class Echoes(Clean):
    def denied(self, plan: Plan) -> Deny:
        return Deny(code="flagged", message=f"you must not say {BAD}")


class Counts(Clean):
    numbers: ClassVar = count()

    def asked(self, plan: Plan) -> Call:
        size = Units(characters=1 + next(self.numbers))
        return Call(path="/judge", body=Body.of(), size=size, model="judge")


class Remembers(Clean):
    seen: ClassVar[set[str]] = set()

    def decide(self, caller: Caller, request: Request, plan: Plan) -> Deciding:
        known = self.text(plan) in self.seen
        self.seen.add(self.text(plan))
        decision = yield from super().decide(caller, request, plan)
        return Allow() if known else decision


class Unbilled(Clean):
    def asked(self, plan: Plan) -> Call:
        return Call(path="/judge", body=Body.of(), model="judge")


class Nameless(Clean):
    def asked(self, plan: Plan) -> Call:
        return Call(path="/judge", body=Body.of(), size=Units(characters=1))


class Fetches(Clean):
    def decide(self, caller: Caller, request: Request, plan: Plan) -> Deciding:
        need: Json = Fetch(url="http://list", at_most=1)
        yield need
        return Allow()


class Believes(Clean):
    def decide(self, caller: Caller, request: Request, plan: Plan) -> Deciding:
        [event] = yield Ask([self.asked(plan)])
        return self.denied(plan) if event.json()["flagged"] else Allow()


class Breaks(Clean):
    def decide(self, caller: Caller, request: Request, plan: Plan) -> Deciding:
        decision: Json = None
        with suppress(GatewayError):
            decision = yield from super().decide(caller, request, plan)
        return decision


class Calls(Clean):
    def text(self, plan: Plan) -> str:
        socket.socket().close()
        return super().text(plan)


class Any(BaseModel):
    """Takes every key."""


class Lax(Clean):
    config_type = Any


class Shadowed(BaseModel, frozen=True, extra="forbid"):
    shadow: bool = False


class Taken(Clean):
    config_type = Shadowed


class Wrong(Clean):
    def denied(self, plan: Plan) -> Json:
        return Allow()


RULES = PolicyContract


@pytest.mark.parametrize(
    ("bug", "rule"),
    [
        (Echoes, RULES.test_a_refusal_echoes_nothing),
        (Counts, RULES.test_deciding_twice_is_deciding_alike),
        (Remembers, RULES.test_deciding_twice_is_deciding_alike),
        (Unbilled, RULES.test_it_asks_for_calls_that_can_be_billed),
        (Nameless, RULES.test_it_asks_for_calls_that_can_be_billed),
        (Fetches, RULES.test_it_asks_for_calls_that_can_be_billed),
        (Believes, RULES.test_garbage_from_an_engine_is_a_bad_reply),
        (Breaks, RULES.test_a_failed_ask_is_let_through_or_decided),
        (Calls, RULES.test_cases_are_decided_as_they_say),
        (Lax, RULES.test_it_is_declared_well),
        (Taken, RULES.test_it_is_declared_well),
        (Wrong, RULES.test_cases_are_decided_as_they_say),
    ],
)
def test_a_planted_bug_is_caught(bug: type[Clean], rule: Callable[[PolicyContract], None]) -> None:
    planted = type("Planted", (PolicyContract,), {"policy": bug, "cases": cases()})()

    with pytest.raises(AssertionError):
        rule(planted)


def test_a_policy_without_cases_is_told_so() -> None:
    planted = type("Planted", (PolicyContract,), {"policy": Clean})()

    with pytest.raises(AssertionError, match="checked by nothing"):
        planted.test_cases_are_decided_as_they_say()
