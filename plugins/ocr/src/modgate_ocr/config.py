"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import ModelFacts, ModelName


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.ocr]` section."""

    max_pages: int = Field(200, ge=1, description="pages of one document")
    dpi: int = Field(200, ge=36, le=600, description="resolution that PDF pages are rendered at")
    page_pixels: int = Field(50_000_000, ge=1, description="pixels of one page or image")
    document_bytes: int = Field(20 << 20, ge=1024, description="bytes of a document")
    images_bytes: int = Field(64 << 20, ge=0, description="bytes of all pictures in a reply")
    width: int = Field(8, ge=1, le=64, description="pages of one request at once")
    default_model: ModelName[Literal["ocr"]] | None = Field(
        None, description="the model when the request names none"
    )


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    long_side: int | None = Field(None, ge=64, description="page images are made no larger")
    page_schema: Literal["markdown", "lines"] | None = Field(
        None,
        description="what its engines answer: pages as markdown, or lines with places and scores; "
        "only models of one schema may stand in for another",
    )
    prompt: str | None = Field(None, min_length=1, description="what a vision model is told")
    max_tokens: int | None = Field(
        None, ge=1, description="tokens that a vision model may write of a page; reserved"
    )
