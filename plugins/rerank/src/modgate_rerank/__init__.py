"""Reranking for modgate: documents ordered by how well they answer a query."""

from __future__ import annotations

from modgate.plugin import Dialect, LocalEngine, hookimpl
from modgate_rerank.dialects import DIALECTS
from modgate_rerank.engine import E5Ranker
from modgate_rerank.modality import Rerank

__all__ = ["Rerank"]


@hookimpl
def modgate_modalities() -> list[type[Rerank]]:
    """The one modality of this plugin."""
    return [Rerank]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """The home wire, which is cohere's v2, and the engines that spell it in another way."""
    return list(DIALECTS)


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The model that `modgate serve` starts without a file."""
    return [E5Ranker]
