"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import ModelFacts


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.llm]` section."""

    output_tokens: int = Field(
        4096, ge=1, description="reserved where neither client nor model bounds the output"
    )
    body_bytes: int = Field(32 << 20, ge=1024, description="bytes of a request body")
    default_model: str | None = Field(None, description="unused by this wire: `model` is required")


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    context: int | None = Field(None, ge=1, description="tokens of prompt and output together")
    tokenizer: Literal["cl100k_base", "o200k_base", "engine"] | None = Field(
        None, description="who counts a prompt exactly: a packaged table, or the engine itself"
    )
