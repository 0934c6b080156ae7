"""Linking `[policy.*]` sections: kinds that a plugin brings, their own keys, known models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modgate.api.model import Model
from modgate.api.policy import AnyPolicy, Mandate
from modgate.config.link_kinds import KindsLinker
from modgate.config.policy_section import PolicySection


def linked_policies(
    sections: Mapping[str, PolicySection],
    kinds: Mapping[str, type[AnyPolicy]],
    models: Mapping[str, Model],
    linker: KindsLinker,
) -> Iterator[Mandate]:
    """What is right of them, in the file's order; the `linker` is told of mistakes."""
    for put in linker.put(sections, kinds):
        section, kind = put.section, put.kind
        yield Mandate(
            name=put.name,
            kind=kind.name,
            config=put.config,
            models=linker.seen(put, models),
            tenants=None if section.tenants is None else frozenset(section.tenants),
            budget_s=kind.budget_s if section.budget is None else section.budget,
            on_failure=section.on_failure or kind.on_failure,
            shadow=section.shadow,
        )
