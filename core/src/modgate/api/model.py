"""A name that clients may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel


class ModelFacts(BaseModel, frozen=True, extra="forbid"):
    """What a modality knows of a model; a plugin's own facts type derives from this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as clients see it: `facts` is of the modality's `model_type`.

    `demo`: served by an embedded default model; said in `/v1/models` and in a reply header.
    """

    name: str
    modality: str
    aliases: Sequence[str] = ()
    facts: ModelFacts = field(default_factory=ModelFacts)
    demo: bool = False
    note: str = ""
    says: Mapping[str, str] = field(default_factory=dict)


class ModelName(str):
    """The name of another `[model.*]` entry in a plugin's own config, checked when the config is
    linked.

    `ModelName["embedding"]` in a config type says of which modality it must be.
    """

    __slots__ = ()

    def __class_getitem__(cls, modality: str) -> object:
        from typing import Annotated

        from pydantic import BeforeValidator

        return Annotated[str, BeforeValidator(cls), ("modgate-model", modality)]
