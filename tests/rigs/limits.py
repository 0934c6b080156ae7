"""Callers with limits, and a limiter over a State of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from modgate.api.auth import Caller, Limits, Period, Policy, Rate
from modgate.errors import GatewayError, LimitReached, QuotaSpent
from modgate.limits.account import OwnAccount
from modgate.limits.admission import Admission
from modgate.limits.headers import RateView
from modgate.limits.limiter import Bounds, Limiter
from modgate.limits.rates import Rates
from modgate.limits.state import Held, LimitState
from modgate.units import Unit, Units, UnitTable

TABLE = UnitTable.of(
    {
        "llm": (
            Unit("input_tokens", "tokens in"),
            Unit("cached_tokens", "of these, known", part_of="input_tokens"),
            Unit("output_tokens", "tokens out", learned=True),
        ),
        "vlm": (Unit("output_tokens", "tokens out", learned=True),),
        "asr": (Unit("audio_ms", "decoded duration", shown="audio_seconds", scale=1000),),
    }
)
WALL = 1_767_225_600.0 + 12 * 3600  # noon UTC, the first of January 2026


@dataclass
class World:
    """A limiter, its State, and the time."""

    bounds: Bounds = field(default_factory=Bounds)
    state: LimitState = field(default_factory=LimitState)
    now: float = 1000.0
    wall: float = WALL

    def __post_init__(self) -> None:
        self.reload()

    def reload(self) -> None:
        """A new snapshot over the same State."""
        self.limiter = Limiter(self.state, TABLE, self.bounds)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def admit(self, caller: Caller) -> Admission:
        admission = self.limiter.admit(caller, now=self.now, wall=self.wall)
        try:
            self.limiter.charge_requests(admission, now=self.now)
        except GatewayError:
            self.limiter.drop(admission)
            raise
        return admission

    def reserve(
        self, admission: Admission, units: Units, modality: str = "llm", requests: int = 1
    ) -> None:
        self.limiter.reserve(
            admission,
            units.of(modality).full(),
            modality=modality,
            model="m",
            requests=requests,
            now=self.now,
        )

    def top_up(self, admission: Admission, units: Units, modality: str = "llm") -> None:
        self.reserve(admission, units, modality, requests=0)

    def settle(self, admission: Admission, used: dict[str, int] | None) -> None:
        self.limiter.settle(admission, used, now=self.now)

    def spend(self, caller: Caller, units: Units, modality: str = "llm") -> None:
        """A whole request that costs what was reserved."""
        admission = self.admit(caller)
        self.reserve(admission, units, modality)
        self.settle(admission, units.of(modality).full())

    def left(self, caller: Caller) -> dict[str, int]:
        """What the headers would say is left, by unit."""
        return {view.unit: view.remaining for view in self.views(caller)}

    def views(self, caller: Caller) -> list[RateView]:
        """Every limit of a caller as the headers would show it."""
        terms = Rates(TABLE, self.state.ms).of(caller, began=self.now, wall=self.wall)
        looks_only = Admission(caller, 0, terms)
        return self.limiter.rates(looks_only, self.now)

    @property
    def idle(self) -> bool:
        """Nothing is held by anybody, and no reservation is open."""
        state = self.state
        levels = state.levels
        assert isinstance(levels, OwnAccount)
        return state.total == Held() and not state.tenants and levels.sizes()[1] == 0


def limit_of(call: Callable[[], object]) -> LimitReached:
    """The LimitReached that a call raises."""
    with pytest.raises(LimitReached) as caught:
        call()
    return caught.value


def quota_of(call: Callable[[], object]) -> QuotaSpent:
    """The QuotaSpent that a call raises."""
    with pytest.raises(QuotaSpent) as caught:
        call()
    return caught.value


def tenant(*rates: tuple[str, int, Period], name: str = "acme", **bounds: int) -> Caller:
    """A caller with rates (unit, amount, period) and what it may hold at once."""
    made = tuple(Rate(unit=unit, amount=amount, period=period) for unit, amount, period in rates)
    limits = Limits(
        rates=made,
        in_flight=bounds.get("in_flight"),
        streams=bounds.get("streams"),
        body_bytes=bounds.get("body_bytes"),
        spool_bytes=bounds.get("spool_bytes"),
    )
    return Caller(tenant=name, key_id="k", policy=Policy(limits=limits))
