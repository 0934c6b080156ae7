"""A plugin gets its model's facts by the type that it declared."""

from __future__ import annotations

import pytest

from modgate.kit.facts import facts_of
from modgate.plugin import Body, Model, ModelFacts, Request, Surface


class Voices(ModelFacts, frozen=True, extra="forbid"):
    voices: tuple[str, ...] = ()


class Other(ModelFacts, frozen=True, extra="forbid"):
    pass


def request() -> Request:
    model = Model(name="speech", modality="tts", facts=Voices(voices=("amy",)))
    return Request(
        id="req_1",
        path="/v1/audio/speech",
        model=model,
        asked="speech",
        body=Body.json(b"{}"),
        surface=Surface(),
        parsed={},
    )


def test_facts_are_those_of_the_requests_model() -> None:
    assert facts_of(request(), Voices).voices == ("amy",)


def test_facts_of_another_type_are_a_plugins_fault() -> None:
    with pytest.raises(AssertionError, match="model_type"):
        facts_of(request(), Other)
