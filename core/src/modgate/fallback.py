"""Another model in place of the one that was asked for: which, when, and never in secret.

A request goes along its model's chain only where its tenant agreed to that, before a byte of the
reply left and before anything was fed to its relay; it is shaped, reserved and billed as if the
model that serves it had been asked for.

Source: algorithms.md 1.4 (step 8), 5.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from modgate.api.auth import Caller
from modgate.api.modality import AnyModality
from modgate.api.model import Model, unlike
from modgate.api.select import Fallback, Reason
from modgate.draft import Draft
from modgate.errors import (
    EngineMissing,
    GatewayError,
    ModelLoading,
    NoBackend,
    Overloaded,
    Upstream,
)
from modgate.order import Elsewhere
from modgate.table import guard_model

FULL = (429, 503)  # an engine's own word that it has no room


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """The chains of a snapshot, by the model that is asked for."""

    models: Mapping[str, Model] = field(default_factory=dict)
    modalities: Mapping[str, AnyModality] = field(default_factory=dict)
    by_model: Mapping[str, Sequence[Fallback]] = field(default_factory=dict)

    def of(self, model: str, caller: Caller) -> Chain | None:
        """The caller's chain from a model; None where there is none, or the tenant wants none."""
        links = self.by_model.get(model)
        if links is None or not caller.policy.fallback:
            return None
        left = [each for each in links if self._may(model, each.model, caller)]
        return Chain(self.models[model], left, self.models)

    def _may(self, asked: str, name: str, caller: Caller) -> bool:
        """Whether the caller may use it, and it can do what the asked one can."""
        try:
            found = guard_model(self.models, name, caller)
        except GatewayError:
            return False
        return not unlike(self.modalities[found.modality], self.models[asked], found)


class Chain:
    """One request's chain.  `asked`: the model that it began with."""

    __slots__ = ("_left", "_models", "asked")

    def __init__(
        self, asked: Model, links: Sequence[Fallback], models: Mapping[str, Model]
    ) -> None:
        self.asked = asked
        self._left = list(links)
        self._models = models

    def first(self, reason: Reason, fits: Callable[[str], bool]) -> str | None:
        """The first model that stands in for this reason and fits."""
        names = (each.model for each in self._left if reason in each.on)
        return next((name for name in names if fits(name)), None)

    def take(self, error: GatewayError, reason: Reason) -> tuple[Model, Reason] | None:
        """The next model after this error; those before it are passed over for good."""
        while self._left:
            link = self._left.pop(0)
            wanted = not isinstance(error, Elsewhere) or link.model == error.model
            if wanted and reason in link.on:
                return self._models[link.model], reason
        return None


def reason_of(error: GatewayError, draft: Draft) -> Reason | None:
    """The reason that an error is for another model; None: it is no such reason."""
    match error:
        case Elsewhere():
            return error.reason
        case Upstream():
            return "failed"
        case Overloaded():
            return "failed" if draft.tries and draft.tries[-1].status in FULL else None
        case NoBackend() | EngineMissing() | ModelLoading():
            return "unavailable"
        case _:
            return None


async def along(
    chain: Chain,
    draft: Draft,
    *,
    serve: Callable[[Model, Chain | None], Awaitable[None]],
    free: Callable[[], bool],
) -> None:
    """Serve as the asked model, and where that fails as the next of the chain.

    `free`: whether nothing was replied yet, and there is time.  Where all fail the first error
    stands; but a request that left its model only because it would be late is served by it after
    all.
    """
    first: GatewayError | None = None
    reason: Reason | None = None
    model = chain.asked
    while True:
        try:
            await serve(model, chain if first is None else None)
        except GatewayError as error:
            if not free():
                raise
            first = first or error
            # A stand-in that refuses is no end: the reason of the failure before still holds.
            reason = reason_of(error, draft) or reason
            found = chain.take(error, reason) if reason is not None else None
        else:
            return
        if found is not None:
            model, draft.notes["fallback_on"] = found
            draft.notes["fallback_for"] = chain.asked.name
            continue
        for note in ("fallback_on", "fallback_for"):
            draft.notes.pop(note, None)
        if not isinstance(first, Elsewhere):
            draft.model = chain.asked.name
            raise first
        await serve(chain.asked, None)
        return
