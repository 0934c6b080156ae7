"""How engines spell chat with pictures."""

from __future__ import annotations

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.families.llamacpp import LlamaCpp


class VlmHome(ChatDialect):
    """Any engine that speaks OpenAI chat with images as data URIs."""

    modality = "vlm"


class VlmLlamaCpp(LlamaCpp):
    """llama.cpp's server, started with a multimodal projector."""

    modality = "vlm"
