"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import ModelFacts, ModelName

MODERATION = "moderation"


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.moderation]` section."""

    default_model: ModelName[Literal["moderation"]] | None = Field(
        None, description="where a client names none; default the first"
    )
    max_characters: int = Field(200_000, ge=1, description="characters of one request")
    max_inputs: int = Field(128, ge=1, description="texts of one request")


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    threshold: float = Field(0.5, gt=0, lt=1, description="a score from here on is flagged")


class GuardConfig(BaseModel, frozen=True, extra="forbid"):
    """The keys of a `[policy.NAME]` section of the kind `moderation`."""

    model: ModelName[Literal["moderation"]] = Field(description="the model that is asked")
    threshold: float = Field(0.5, gt=0, lt=1, description="a score from here on is denied")
    categories: frozenset[str] | None = Field(None, description="only these count; default all")
    status: Literal[400, 403] = Field(400, description="what the client is refused with")
