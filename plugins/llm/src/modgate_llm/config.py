"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, FilePath

from modgate.kit.chat import MESSAGE_TOKENS, TEMPLATE_TOKENS
from modgate.kit.chat_relay import Alias
from modgate.plugin import ModelFacts


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.llm]` section."""

    output_tokens: int = Field(
        4096, ge=1, description="reserved where neither client nor model bounds the output"
    )
    reasoning_alias: Alias = Field(
        "both", description="names of reasoning text: `reasoning_content`, `reasoning`, or both"
    )
    isolate_caches: bool = Field(
        True, description="what an engine remembers of a tenant's prompts serves that tenant only"
    )
    body_bytes: int = Field(32 << 20, ge=1024, description="bytes of a request body")


class TokenizerFile(BaseModel, frozen=True, extra="forbid"):
    """The model's own tokenizer, with what its chat template adds."""

    file: FilePath = Field(description="the model's `tokenizer.json`")
    message_tokens: int = Field(
        MESSAGE_TOKENS, ge=0, description="tokens that the template adds to a message"
    )
    template_tokens: int = Field(
        TEMPLATE_TOKENS, ge=0, description="tokens that the template adds once"
    )


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    context: int | None = Field(None, ge=1, description="tokens of prompt and output together")
    tokenizer: Literal["cl100k_base", "o200k_base", "engine"] | TokenizerFile | None = Field(
        None,
        description="who counts a prompt exactly: a packaged table, the engine itself, or "
        '`{ file = "tokenizer.json" }`',
    )
    n: bool = Field(
        True, description="its engines make several choices; else each is a call of its own"
    )
    tools: bool = Field(
        True,
        description="it can call tools; else a forced call is refused, and tools are left out",
    )
