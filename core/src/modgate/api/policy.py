"""What an operator's policies decide of a request that is shaped, and of which nothing was sent."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel

from modgate.api.auth import Caller
from modgate.api.json import Json
from modgate.api.need import Ask
from modgate.api.plan import Plan
from modgate.api.request import Request

OnFailure = Literal["open", "closed"]

MESSAGE_AT_MOST = 500
# Keys of every `[policy.*]` section; a policy's own have other names.
EVERY_SECTION = frozenset({"kind", "models", "tenants", "budget", "on_failure", "shadow"})
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Allow:
    """The request goes on as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The request is refused, in the client's own format.

    `code`: a fixed word, for it is a metric's label.  `message`: says what to do, and echoes
    nothing of the body.  `field`: of the body, if the fault is in one.
    """

    code: str
    message: str
    status: Literal[400, 403] = 403
    field: str | None = None

    def __post_init__(self) -> None:
        """ValueError for what no client should be told."""
        if not _CODE.fullmatch(self.code):
            raise ValueError("the code of a Deny is words in lower case, with _")
        if not 0 < len(self.message) <= MESSAGE_AT_MOST:
            raise ValueError(f"the message of a Deny has 1 to {MESSAGE_AT_MOST} characters")
        if self.status not in (400, 403):
            raise ValueError("a Deny is a 400 or a 403")


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """The request goes on with less than its caller may have; never with more.

    `regions`: of those that the caller may use, only these.  `requires`: what the backend of every
    call of the plan must have, too (`(("feature", "no-log"),)`).  `slo`: this class, where it
    promises no more than the caller's own.
    """

    regions: frozenset[str] | None = None
    requires: tuple[tuple[str, str], ...] = ()
    slo: str | None = None

    def __post_init__(self) -> None:
        """TypeError for regions that are one text: a part of a name is no region."""
        if self.regions is not None and not isinstance(self.regions, frozenset):
            raise TypeError("the regions of a Narrow are a frozenset of names")


Decision = Allow | Deny | Narrow

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class PlanPolicy(ABC, Generic[ConfigT]):
    """A plugin's class: the host makes one instance a `[policy.*]` section that names it.

    `modalities`: whose requests it understands, empty = all.  `budget_s`: seconds that a decision
    may take, with its Asks; one that comes later does not count.  `on_failure`: whether a request
    goes on (`open`) or is refused (`closed`) when the policy breaks, an engine that it asks fails,
    or its budget is over.  Sections may say otherwise of both.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[BaseModel]]
    modalities: ClassVar[frozenset[str]] = frozenset()
    budget_s: ClassVar[float] = 0.05
    on_failure: ClassVar[OnFailure] = "closed"

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def decide(
        self, caller: Caller, request: Request, plan: Plan
    ) -> Decision | Generator[Ask, Json, Decision]:
        """Decide, or be a generator that yields Asks and returns the decision.

        Pure.  `plan.calls` are in the home wire, whatever the client spoke; calls that are drawn
        lazily are not shown (`()`).  A call of an Ask names its model: the operator's, so the
        caller need not have a right to it, but its regions and its limits on that model's units
        hold.  What an Ask did cost is billed to the request, also when that is refused.  A failure
        of an Ask is thrown in as the GatewayError; what is let through, of the caller's own doing
        (a spent limit, a refused text), is the client's error, and anything else is `on_failure`.
        """


AnyPolicy = PlanPolicy[Any]  # each policy has a config type of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredPolicy:
    """A policy as an operator put it to work.

    `kind`: the policy's own name.  `models`: those whose requests it sees; `tenants` None = all.
    """

    name: str
    kind: str
    config: BaseModel
    models: frozenset[str]
    tenants: frozenset[str] | None
    budget_s: float
    on_failure: OnFailure
    shadow: bool
