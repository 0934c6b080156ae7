"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.kit.chat_relay import Alias
from modgate.plugin import ModelFacts


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.vlm]` section."""

    output_tokens: int = Field(
        4096, ge=1, description="reserved where neither client nor model bounds the output"
    )
    reasoning_alias: Alias = Field(
        "both", description="names of reasoning text: `reasoning_content`, `reasoning`, or both"
    )
    isolate_caches: bool = Field(
        True, description="what an engine remembers of a tenant's prompts serves that tenant only"
    )
    body_bytes: int = Field(64 << 20, ge=1024, description="bytes of a request body")
    max_images: int = Field(20, ge=1, description="images of one request")
    image_bytes: int = Field(20 << 20, ge=1024, description="bytes of one image")
    image_pixels: int = Field(50_000_000, ge=1, description="pixels of one image")
    default_model: str | None = Field(None, description="unused by this wire: `model` is required")


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    context: int | None = Field(None, ge=1, description="tokens of prompt and output together")
    image_tokens: Literal["tiles", "qwen2_vl", "fixed", "area"] = Field(
        "area", description="how its family turns an image into tokens, for the reserve"
    )
    fixed_tokens: int = Field(256, ge=1, description="tokens an image where that is fixed")
    base_tokens: int = Field(85, ge=0, description="tiles: tokens of the whole image")
    tile_tokens: int = Field(170, ge=0, description="tiles: tokens of each tile")
    min_pixels: int = Field(3136, ge=1, description="qwen2_vl: least pixels after resizing")
    max_pixels: int = Field(1_003_520, ge=1, description="qwen2_vl: most pixels after resizing")
