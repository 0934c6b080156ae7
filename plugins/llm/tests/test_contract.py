"""The contract, applied to llm."""

from __future__ import annotations

from typing import ClassVar

from modgate.testing import Contract
from modgate_llm.dialects import LlmHome, LlmLlamaCpp, LlmOpenAi, LlmSglang, LlmVllm
from modgate_llm.modality import Llm


class TestLlm(Contract):
    """Every rule of the kit."""

    modality = Llm
    dialects: ClassVar = (LlmHome, LlmOpenAi, LlmVllm, LlmSglang, LlmLlamaCpp)
