"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.kit.chat_relay import Alias
from modgate.plugin import ModelFacts
from modgate_vlm.cost import Family


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
    downscale: bool = Field(
        True, description="pictures are scaled down to what an engine would compute anyway"
    )


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    context: int | None = Field(None, ge=1, description="tokens of prompt and output together")
    tools: bool = Field(
        True,
        description="it can call tools; else a forced call is refused, and tools are left out",
    )
    image_tokens: Literal[
        "openai_tiles",
        "openai_patches",
        "qwen2_vl",
        "qwen2.5_vl",
        "qwen3_vl",
        "llava-1.5",
        "llava-next",
        "internvl",
        "gemma3",
        "pixtral",
        "fixed",
        "area",
    ] = Field(
        "area",
        description="its family, by which a picture costs tokens and is scaled down; `area`: not "
        "known, a token for 750 pixels is reserved",
    )
    fixed_tokens: int = Field(256, ge=1, description="fixed: tokens of a picture")
    base_tokens: int = Field(85, ge=0, description="openai_tiles: tokens of the whole picture")
    tile_tokens: int = Field(170, ge=0, description="openai_tiles: tokens of each tile")
    multiplier: float = Field(1.0, gt=0, le=100, description="openai_patches: tokens of a patch")
    min_pixels: int | None = Field(
        None, ge=1, description="qwen*: least pixels after resizing, if not the class's own"
    )
    max_pixels: int | None = Field(
        None, ge=1, description="qwen*: most pixels after resizing, if not the class's own"
    )
    max_tiles: int = Field(12, ge=1, le=64, description="internvl: most tiles of a picture")
    pan_and_scan: bool = Field(False, description="gemma3: its engine crops long pictures, too")

    @property
    def family(self) -> Family:
        """What a picture's cost is reckoned from."""
        return Family(
            name=self.image_tokens,
            fixed_tokens=self.fixed_tokens,
            base_tokens=self.base_tokens,
            tile_tokens=self.tile_tokens,
            multiplier=self.multiplier,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
            max_tiles=self.max_tiles,
            pan_and_scan=self.pan_and_scan,
        )
