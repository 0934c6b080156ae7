"""How engines spell chat."""

from __future__ import annotations

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.families.llamacpp import LlamaCpp


class LlmHome(ChatDialect):
    """Any engine that speaks OpenAI chat; it has `/tokenize` as the home wire says."""

    modality = "llm"
    tokenizes = True


class LlmLlamaCpp(LlamaCpp):
    """llama.cpp's server."""

    modality = "llm"
