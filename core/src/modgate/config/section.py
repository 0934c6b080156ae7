"""What every section of the file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from modgate.faults import RAISED

ModelT = TypeVar("ModelT", bound=BaseModel)

NUMBERS = (int, float, int | None, float | None)


def parsed(kind: type[ModelT], values: Mapping[str, object]) -> ModelT:
    """Values as a plugin's type; ValidationError also for what its validators raise besides."""
    try:
        return kind.model_validate(values)
    except ValidationError:
        raise
    except RAISED as error:
        _TELLS.validate_python(f"{kind.__name__} raised {type(error).__name__}: {error}")
        raise


def _said(text: str) -> NoReturn:
    raise ValueError(text)


_TELLS: TypeAdapter[str] = TypeAdapter(Annotated[str, AfterValidator(_said)])


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
