"""Embeddings for modgate: texts as vectors, metered in tokens and inputs."""

from __future__ import annotations

from modgate.plugin import Dialect, LocalEngine, hookimpl
from modgate_embedding.dialects import DIALECTS
from modgate_embedding.engine import E5Small
from modgate_embedding.modality import Embedding

__all__ = ["Embedding"]


@hookimpl
def modgate_modalities() -> list[type[Embedding]]:
    """The one modality of this plugin."""
    return [Embedding]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """The home wire is OpenAI's own, floats and lists."""
    return list(DIALECTS)


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The demo model of the fileless start."""
    return [E5Small]
