"""The type of a `[scorer.*]` section.  `description` of each key is its documentation."""

from __future__ import annotations

from pydantic import Field

from modgate.config.section import SeeingSection
from modgate.config.values import Duration


class ScorerSection(SeeingSection):
    """A filter or scorer of a plugin; all other keys are its own."""

    kind: str = Field("", description="which one of an enabled plugin; default: its name")
    models: tuple[str, ...] | None = Field(
        None, description="whose calls it sees; default all that it understands"
    )
    budget: Duration | None = Field(None, description="time of an answer; default its own")
    weight: float = Field(
        1.0, ge=0, le=10, description="how much a scorer counts, as a power: 0 not, 2 twice"
    )
