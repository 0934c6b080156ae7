"""Text generation for modgate: chat and completions, metered in tokens."""

from __future__ import annotations

from modgate.plugin import Dialect, LocalEngine, hookimpl
from modgate_llm.dialects import LlmHome, LlmLlamaCpp, LlmOpenAi, LlmSglang, LlmVllm
from modgate_llm.engine import SmolLm
from modgate_llm.modality import Llm

__all__ = ["Llm"]


@hookimpl
def modgate_modalities() -> list[type[Llm]]:
    """The one modality of this plugin."""
    return [Llm]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """The home wire, and the engines that speak it with an accent."""
    return [LlmHome, LlmOpenAi, LlmVllm, LlmSglang, LlmLlamaCpp]


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The demo model of the fileless start."""
    return [SmolLm]
