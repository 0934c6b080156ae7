"""What an operator may set of the plugin, and of each model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import ModelFacts, ModelName


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.rerank]` section."""

    max_documents: int = Field(1000, ge=1, le=10_000, description="documents of one request")
    slice: int = Field(256, ge=1, le=10_000, description="documents that go out in one call")
    width: int = Field(4, ge=1, le=64, description="calls of one request at once")
    trip_documents: int = Field(
        64, ge=1, description="documents of several requests in a shared call"
    )
    max_characters: int = Field(400_000, ge=1, description="characters of the query or a document")
    default_model: ModelName[Literal["rerank"]] | None = Field(
        None, description="the model where the wire lets it be absent"
    )


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    listwise: bool = Field(False, description="scores depend on the other documents: never split")
    batch: int | None = Field(
        None, ge=1, description="documents that its engine takes at once; absent: of TEI 32"
    )
    logits: bool = Field(False, description="the engine answers raw logits: a sigmoid is applied")
    max_tokens_per_doc: int | None = Field(
        None, ge=1, description="where documents are cut when the client does not say"
    )
    max_tokens: int | None = Field(
        None, ge=1, description="tokens of a document beyond which its engine reads none"
    )
    pairs: bool = Field(
        False,
        description="its engines score pairs of any queries (vLLM `/score`): searches share calls",
    )
