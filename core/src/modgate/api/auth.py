"""Who is calling, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modgate.api.price import BUDGET

Role = Literal["tenant", "operator", "admin"]
OnDisconnect = Literal["cancel", "drain"]
Period = Literal["second", "minute", "hour", "day", "month"]
WhenDown = Literal["local_share", "open", "closed"]

PERIOD_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 2_592_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many of a unit in a period; `unit` is a full name (`llm.output_tokens`) or `requests`.

    `each_key`: every key of the tenant has a level of its own.  `model`: of one model only.
    `when_down`: what it admits while a shared store does not answer.  `shadow`: it is decided and
    recorded, and refuses nothing.
    """

    unit: str
    amount: int
    period: Period
    each_key: bool = False
    model: str = ""
    when_down: WhenDown = "local_share"
    shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one tenant may use.

    Rates, and what it may hold at once (None = the gateway's own bounds only).  `shadow`: the names
    of those of the latter that refuse nothing.  `budgeted`: some rate is of money.
    """

    rates: tuple[Rate, ...] = ()
    in_flight: int | None = None
    streams: int | None = None
    body_bytes: int | None = None
    spool_bytes: int | None = None
    shadow: frozenset[str] = frozenset()
    budgeted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "budgeted", any(rate.unit == BUDGET for rate in self.rates))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a caller may use.

    `None` = all; `visible`: models that exist for it (404 for the others, 403 between).
    `raw_engine_fields`: it gets the members that engines add to the wire, too.  `batch_shared`: its
    calls may share a trip with those of other tenants that say so, too.  `weight`: of its calls
    where calls wait, among those of its SLO class.  `fallback`: a model's fallbacks may answer in
    its place.  `on_disconnect`: what its engines do when it leaves, None = as the model says.
    """

    models: frozenset[str] | None = None
    visible: frozenset[str] | None = None
    regions: frozenset[str] | None = None
    slo: str = ""
    raw_engine_fields: bool = False
    batch_shared: bool = False
    weight: float = 1.0
    fallback: bool = False
    on_disconnect: OnDisconnect | None = None
    limits: Limits = field(default_factory=Limits)

    def sees(self, model: str) -> bool:
        """Whether the model exists for this caller."""
        return self.visible is None or model in self.visible

    def may_use(self, model: str) -> bool:
        """Whether this caller may use the model."""
        return self.sees(model) and (self.models is None or model in self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated tenant and key."""

    tenant: str
    key_id: str
    role: Role = "tenant"
    policy: Policy = field(default_factory=Policy)
