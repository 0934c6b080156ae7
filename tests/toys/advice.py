"""Filters and scorers: one for hot engines, one for a region, and one that does as it is told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import AnyAdviser, Candidate, Filter, Json, Placement, Scorer, hookimpl

LATE_S = 0.003


class Warmth(BaseModel, frozen=True, extra="forbid"):
    """From where on an engine is hot, and how much worse it is then."""

    degrees: float = 80.0
    factor: float = Field(3.0, ge=0.01, le=100)


class Cool(Scorer[Warmth]):
    """Spares engines whose hardware is hot; of what is unknown nothing is said."""

    name = "cool"
    config_type = Warmth

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> list[float]:
        degrees, factor = self.config.degrees, self.config.factor
        found = []
        for each in candidates:
            signals = each.vitals.signals
            known = signals is not None and signals.temperature is not None
            hot = known and signals is not None and (signals.temperature or 0.0) >= degrees
            found.append(factor if hot else 1.0)
        return found


class Home(BaseModel, frozen=True, extra="forbid"):
    """Whose calls stay where."""

    tenant: str
    hardware: str


class Kept(Filter[Home]):
    """Keeps a tenant's calls to one kind of hardware, and everybody else's off it."""

    name = "kept-apart"
    config_type = Home

    def keeps(self, call: Placement, candidates: Sequence[Candidate]) -> list[bool]:
        own = call.tenant == self.config.tenant
        return [(each.hardware == self.config.hardware) == own for each in candidates]


class Told(BaseModel, frozen=True, extra="forbid"):
    """What to do."""

    does: Literal["raise", "short", "nan", "huge", "words", "late", "like-b1"]


class Says(Scorer[Told]):
    """Does what its section says."""

    name = "says"
    config_type = Told

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> Sequence[float]:
        match self.config.does:
            case "raise":
                raise RuntimeError("the scorer broke")
            case "short":
                return [1.0] * (len(candidates) - 1)
            case "nan":
                return [float("nan")] * len(candidates)
            case "huge":
                return [1e9] * len(candidates)
            case "words":
                odd: Json = ["a word"] * len(candidates)
                scores: list[float] = odd
                return scores
            case "late":
                time.sleep(LATE_S)
        return [0.01 if each.backend == "b1" else 1.0 for each in candidates]


@hookimpl
def modgate_scorers() -> list[type[AnyAdviser]]:
    """All of them."""
    return [Cool, Kept, Says]
