"""Moderation for modgate: a modality of its own, and a policy that guards chat with it."""

from __future__ import annotations

from acme_moderation.engine import Sentences
from acme_moderation.modality import Moderation, OpenAI
from acme_moderation.policy import Guard
from modgate.plugin import Dialect, LocalEngine, hookimpl


@hookimpl
def modgate_modalities() -> list[type[Moderation]]:
    """The one modality of this plugin."""
    return [Moderation]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """Engines that can serve it, besides those that speak its home wire."""
    return [OpenAI]


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """What `modgate serve` without a file serves it with."""
    return [Sentences]


@hookimpl
def modgate_policies() -> list[type[Guard]]:
    """What an operator may put before the chat models."""
    return [Guard]
