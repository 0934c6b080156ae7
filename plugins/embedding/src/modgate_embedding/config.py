"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, FilePath, model_validator

from modgate.plugin import ModelFacts

NATIVE, CL100K = "native", "openai-cl100k"
TokenIds = Literal["native", "openai-cl100k"]


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.embedding]` section."""

    max_inputs: int = Field(2048, ge=1, le=65_536, description="inputs of one request")
    max_texts: int = Field(96, ge=1, le=65_536, description="texts of one cohere request")
    max_items: int = Field(256, ge=1, le=65_536, description="inputs that go out in one call")
    width: int = Field(4, ge=1, le=64, description="calls of one request at once")
    max_characters: int = Field(400_000, ge=1, description="characters of one input")
    trip_items: int = Field(32, ge=1, description="inputs of several requests in a shared call")
    trip_tokens: int = Field(8192, ge=1, description="estimated tokens of a shared call")


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    dimensions: int | None = Field(None, ge=1, description="length of the model's own vectors")
    space: str = Field(
        "", description="whose vectors they are: only models of one space may stand in for another"
    )
    matryoshka: bool = Field(
        False, description="a vector's beginning is a good shorter one: the gateway cuts it"
    )
    max_tokens: int | None = Field(None, ge=1, description="tokens of one input")
    tokenizer: FilePath | None = Field(
        None, description="the model's `tokenizer.json`: texts are counted before the call"
    )
    token_ids: TokenIds | None = Field(
        None, description="whose vocabulary a client's token numbers are in; absent: refuse them"
    )
    prefixes: dict[str, str] = Field(
        default_factory=dict, description='text in front by input_type: {query = "query: "}'
    )
    int8_bound: float | None = Field(
        None, gt=0, description="the number that int8 writes as 127; absent: 6 / sqrt(dimensions)"
    )
    batch: int | None = Field(
        None, ge=1, description="inputs that its engine takes at once; absent: of TEI 32"
    )

    @model_validator(mode="after")
    def _cut_needs_a_length(self) -> Facts:
        if self.matryoshka and self.dimensions is None:
            raise ValueError("matryoshka needs dimensions, the length of the model's own vectors")
        return self
