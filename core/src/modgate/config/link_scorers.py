"""Linking `[scorer.*]` sections: kinds that a plugin brings, their own keys, known models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modgate.api.scorer import Adviser, AnyAdviser
from modgate.config.link_kinds import KindsLinker
from modgate.config.scorer_section import ScorerSection


def linked_scorers(
    sections: Mapping[str, ScorerSection],
    kinds: Mapping[str, type[AnyAdviser]],
    linker: KindsLinker,
) -> Iterator[Adviser]:
    """What is right of them, in the file's order; the `linker` is told of mistakes."""
    for name, section in sections.items():
        path = ("scorer", name)
        kind = linker.kind(path, name, section.kind, kinds)
        config = None if kind is None else linker.config(path, section, kind)
        if kind is None or config is None:
            continue
        yield Adviser(
            name=name,
            kind=kind.name,
            config=config,
            models=linker.seen(path, section.models, kind),
            budget_s=kind.budget_s if section.budget is None else section.budget,
            weight=section.weight,
        )
