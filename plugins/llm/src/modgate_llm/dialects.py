"""How engines spell chat."""

from __future__ import annotations

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.families.llamacpp import LlamaCpp
from modgate.kit.families.openai import OpenAi
from modgate.kit.families.sglang import Sglang
from modgate.kit.families.vllm import Vllm


class LlmHome(ChatDialect):
    """Any engine that speaks OpenAI chat; it has `/tokenize` as the home wire says."""

    modality = "llm"
    tokenizes = True


class LlmOpenAi(OpenAi):
    """A paid API."""

    modality = "llm"


class LlmVllm(Vllm):
    """vLLM's server."""

    modality = "llm"


class LlmSglang(Sglang):
    """SGLang's server."""

    modality = "llm"


class LlmLlamaCpp(LlamaCpp):
    """llama.cpp's server."""

    modality = "llm"
