"""What every section of the file is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section: unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class KindSection(BaseModel):
    """A section that puts a kind of a plugin to work; all other keys are the kind's own.

    `kind`: which one; '' = the one that is called as the section is.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = ""


class SeeingSection(KindSection):
    """One whose kind sees the requests of some models; None = of all that it understands."""

    models: tuple[str, ...] | None = None
