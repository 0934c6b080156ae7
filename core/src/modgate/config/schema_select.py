"""The types of `[select]`: who answers, and what is done where none can as it was promised."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from modgate.api.select import REASONS, Reason
from modgate.config.section import Section
from modgate.config.values import Duration

Step = Literal["best_effort", "fallback", "queue", "refuse"]


def _some(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    if not reasons:
        raise ValueError("stands in for nothing: leave out `on`, or say when")
    return reasons


class FallbackSection(Section):
    """A model that stands in: `{ model = "small", on = ["failed"] }`."""

    model: str = Field(description="its name")
    on: Annotated[tuple[Reason, ...], AfterValidator(_some)] = Field(
        REASONS, description="when: unmet, failed, unavailable"
    )


def _named(link: object) -> object:
    return {"model": link} if isinstance(link, str) else link


def _listed(steps: object) -> object:
    return (steps,) if isinstance(steps, str) else steps


# One type each, so that a mistake in the long form is told, and not that it is not the short one.
Link = Annotated[
    FallbackSection, BeforeValidator(_named, json_schema_input_type=str | FallbackSection)
]
Steps = Annotated[
    tuple[Step, ...], BeforeValidator(_listed, json_schema_input_type=Step | tuple[Step, ...])
]


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
    unmet: dict[str, Steps] = Field(
        {}, description="by SLO class: what is done in turn where no backend keeps the promise"
    )
