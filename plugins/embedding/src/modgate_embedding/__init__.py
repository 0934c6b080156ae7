"""Embeddings for modgate: texts as vectors, metered in tokens and inputs."""

from __future__ import annotations

from modgate.plugin import Dialect, hookimpl
from modgate_embedding.dialects import EmbeddingHome
from modgate_embedding.modality import Embedding


@hookimpl
def modgate_modalities() -> list[type[Embedding]]:
    """The one modality of this plugin."""
    return [Embedding]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """The home wire: OpenAI's own, floats and strings."""
    return [EmbeddingHome]
