"""Reranking for modgate: documents ordered by how well they answer a query."""

from __future__ import annotations

from modgate.plugin import hookimpl
from modgate_rerank.modality import Rerank


@hookimpl
def modgate_modalities() -> list[type[Rerank]]:
    """The one modality of this plugin."""
    return [Rerank]
