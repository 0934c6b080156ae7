"""The contract, applied to vlm."""

from __future__ import annotations

from typing import ClassVar

from modgate.testing import Contract
from modgate_vlm.dialects import VlmHome, VlmLlamaCpp, VlmOpenAi, VlmSglang, VlmVllm
from modgate_vlm.modality import Vlm


class TestVlm(Contract):
    """Every rule of the kit."""

    modality = Vlm
    dialects: ClassVar = (VlmHome, VlmOpenAi, VlmVllm, VlmSglang, VlmLlamaCpp)
