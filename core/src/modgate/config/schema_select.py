"""The types of `[select]`: who answers, and what is done where none can as it was promised."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modgate.api.select import REASONS, Reason
from modgate.config.section import Section
from modgate.config.values import Duration

Step = Literal["best_effort", "fallback", "queue", "refuse"]


class FallbackSection(Section):
    """A model that stands in: `{ model = "small", on = ["failed"] }`."""

    model: str = Field(description="its name")
    on: tuple[Reason, ...] = Field(REASONS, description="when: unmet, failed, unavailable")


class SelectSection(Section):
    """Which backend takes a call, among those that may."""

    hardware: tuple[str, ...] = Field(
        (), description="hardware classes, the preferred one first; each rank counts 10 %"
    )
    cost: float = Field(
        0.0, ge=0, le=2, description="how much `cost_per_hour` counts: 0 not, 1 like time"
    )
    away: dict[str, Duration] = Field(
        {}, description="by region: how long the way there and back takes"
    )
    unmet: dict[str, Step | tuple[Step, ...]] = Field(
        {}, description="by SLO class: what is done in turn where no backend keeps the promise"
    )
