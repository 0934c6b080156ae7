"""Policies that do what their section says: decide, break, take their time, ask an engine."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import ClassVar, Literal

from made_plugins import plugin
from pydantic import BaseModel

from modgate.plugin import (
    Allow,
    Ask,
    Body,
    Call,
    Caller,
    Decision,
    Deny,
    Json,
    ModelName,
    Narrow,
    Plan,
    PlanPolicy,
    Request,
    Units,
)

EMBEDDING, LLM = "embedding", "llm"
TEXT, TOKENS = "what they said", 7  # what is asked, and what it is reserved


class Said(BaseModel, frozen=True, extra="forbid"):
    """What to decide."""

    says: Literal["allow", "deny", "narrow", "nonsense", "raise", "sleep"] = "allow"
    status: Literal[400, 403] = 403
    region: str | None = None
    feature: str | None = None
    slo: str | None = None


class Says(PlanPolicy[Said]):
    """Decides what its section says."""

    name = "says"
    config_type = Said

    def decide(self, caller: Caller, request: Request, plan: Plan) -> Decision:
        said = self.config
        match said.says:
            case "deny":
                text = "the house does not like it"
                return Deny(code="house_rule", message=text, status=said.status, field="messages")
            case "narrow":
                regions = frozenset([said.region]) if said.region is not None else None
                requires = (("feature", said.feature),) if said.feature is not None else ()
                return Narrow(regions=regions, requires=requires, slo=said.slo)
            case "raise":
                raise RuntimeError("the policy broke")
            case "sleep":
                time.sleep(0.03)
            case "nonsense":
                odd: Json = {"verdict": "maybe"}
                decision: Decision = odd
                return decision
        return Allow()


class Asked(BaseModel, frozen=True, extra="forbid"):
    """Whom to ask, and what then."""

    model: ModelName[EMBEDDING]
    times: int = 1
    deny: bool = False


class Asks(PlanPolicy[Asked]):
    """Embeds a text of so many tokens, and then decides."""

    name = "asks"
    config_type = Asked
    modalities: ClassVar = frozenset({"llm"})
    budget_s = 5.0

    def decide(
        self, caller: Caller, request: Request, plan: Plan
    ) -> Generator[Ask, Json, Decision]:
        call = Call(
            path="/v1/embeddings",
            body=Body.of(model="x", input=[TEXT]),
            size=Units(input_tokens=TOKENS, inputs=1),
            model=self.config.model,
        )
        events = yield Ask([call] * self.config.times)
        assert len(events) == self.config.times
        if self.config.deny:
            return Deny(code="house_rule", message="the house asked, and does not like it")
        return Allow()


class Judged(BaseModel, frozen=True, extra="forbid"):
    """Whom to ask."""

    model: ModelName[LLM]


class Judges(PlanPolicy[Judged]):
    """Has a chat judged by a chat model, and lets it pass."""

    name = "judges"
    config_type = Judged
    modalities: ClassVar = frozenset({"llm"})
    budget_s = 5.0

    def decide(
        self, caller: Caller, request: Request, plan: Plan
    ) -> Generator[Ask, Json, Decision]:
        question = Body.of(model="x", messages=[{"role": "user", "content": TEXT}], max_tokens=3)
        size = Units(input_tokens=TOKENS, output_tokens=3)
        call = Call(path="/v1/chat/completions", body=question, size=size, model=self.config.model)
        yield Ask([call])
        return Allow()


HOUSE = plugin(modgate_policies=[Says, Asks, Judges])
