"""Image understanding for modgate: chat with pictures, metered in tokens, images and pixels."""

from __future__ import annotations

from modgate.plugin import Dialect, LocalEngine, hookimpl
from modgate_vlm.dialects import VlmHome, VlmLlamaCpp, VlmOpenAi, VlmSglang, VlmVllm
from modgate_vlm.engine import VisionComposite
from modgate_vlm.modality import Vlm

__all__ = ["Vlm"]


@hookimpl
def modgate_modalities() -> list[type[Vlm]]:
    """The one modality of this plugin."""
    return [Vlm]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """The home wire, and the engines that speak it with an accent."""
    return [VlmHome, VlmOpenAi, VlmVllm, VlmSglang, VlmLlamaCpp]


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The demo model of the fileless start: a composite that says that it is no VLM."""
    return [VisionComposite]
