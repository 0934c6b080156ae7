"""What a configuration has that counts where it serves, and is not in a replay."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

from modgate.api.auth import Limits

if TYPE_CHECKING:
    from modgate.snapshot.blueprint import Blueprint


def unplayed(made: Blueprint, models: Set[str]) -> Iterator[str]:
    """Keys of the file, as far as they are for these models, or for all."""
    linked = made.linked
    yield from (f"scorer.{each.name}" for each in linked.scorers if each.models & models)
    yield from (f"policy.{each.name}" for each in linked.policies if each.models & models)
    yield from (f"model.{name}.fallback" for name in linked.chains if name in models)
    yield from (f"discover.{each.name}" for each in linked.discoverers)
    if any(tenant.policy.limits != Limits() for tenant in linked.tenants):
        yield "tenant.*.limits"
    if linked.file.peers is not None:
        yield "peers"
