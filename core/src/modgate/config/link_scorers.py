"""Linking `[scorer.*]` sections: kinds that a plugin brings, their own keys, known models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modgate.api.model import Model
from modgate.api.scorer import Adviser, AnyAdviser
from modgate.config.link_kinds import KindsLinker
from modgate.config.scorer_section import ScorerSection


def linked_scorers(
    sections: Mapping[str, ScorerSection],
    kinds: Mapping[str, type[AnyAdviser]],
    models: Mapping[str, Model],
    linker: KindsLinker,
) -> Iterator[Adviser]:
    """What is right of them, in the file's order; the `linker` is told of mistakes."""
    for put in linker.put(sections, kinds):
        yield Adviser(
            name=put.name,
            kind=put.kind.name,
            config=put.config,
            models=linker.seen(put, models),
            budget_s=put.kind.budget_s if put.section.budget is None else put.section.budget,
            weight=put.section.weight,
        )
