"""How engines spell chat with pictures."""

from __future__ import annotations

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.families.llamacpp import LlamaCpp
from modgate.kit.families.openai import OpenAi
from modgate.kit.families.sglang import Sglang
from modgate.kit.families.vllm import Vllm


class VlmHome(ChatDialect):
    """Any engine that speaks OpenAI chat with images as data URIs."""

    modality = "vlm"


class VlmOpenAi(OpenAi):
    """A paid API whose model sees."""

    modality = "vlm"


class VlmVllm(Vllm):
    """vLLM's server, with a model that sees."""

    modality = "vlm"


class VlmSglang(Sglang):
    """SGLang's server, with a model that sees."""

    modality = "vlm"


class VlmLlamaCpp(LlamaCpp):
    """llama.cpp's server, started with a multimodal projector."""

    modality = "vlm"
