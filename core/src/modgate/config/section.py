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
