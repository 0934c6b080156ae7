"""The facts of a request's model, by the type that its plugin declared for them."""

from __future__ import annotations

from typing import TypeVar

from modgate.plugin import ModelFacts, Request

FactsT = TypeVar("FactsT", bound=ModelFacts)


def facts_of(request: Request, kind: type[FactsT]) -> FactsT:
    """The facts of the model that a request is for: `kind` is the modality's `model_type`."""
    facts = request.model.facts
    assert isinstance(facts, kind), "they are of the modality's `model_type`"
    return facts
