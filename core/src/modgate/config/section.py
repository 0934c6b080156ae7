"""What every section of the file is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

NUMBERS = (int, float, int | None, float | None)


class Keys(BaseModel):
    """Keys of a section.  A number is a number: pydantic itself takes `true` for 1."""

    @field_validator("*", mode="before")
    @classmethod
    def _number(cls, value: object, where: ValidationInfo) -> object:
        field = cls.model_fields.get(where.field_name or "")
        if isinstance(value, bool) and field is not None and field.annotation in NUMBERS:
            raise ValueError("is a number")
        return value


class Section(Keys):
    """A section: unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class KindSection(Keys):
    """A section that puts a kind of a plugin to work; all other keys are the kind's own.

    `kind`: which one; '' = the one that is called as the section is.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = ""


class SeeingSection(KindSection):
    """One whose kind sees the requests of some models; None = of all that it understands."""

    models: tuple[str, ...] | None = None
