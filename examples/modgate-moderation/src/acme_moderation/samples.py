"""Requests with what an engine answers: for the contract, the docs and `modgate try`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from modgate.plugin import Json, Sample, Units


def _sample(given: Json, texts: Sequence[str], scores: Sequence[Mapping[str, float]]) -> Sample:
    usage = Units(characters=sum(map(len, texts)), inputs=len(texts))
    said = json.dumps({"scores": scores}).encode()
    return Sample(path="/v1/moderations", json={"input": given}, upstream=[said], usage=usage)


HARM, CALM = "I will hurt you", "Good morning 👋"
PARTS = [{"type": "text", "text": HARM}, {"type": "text", "text": CALM}]
SAMPLES = (
    _sample(HARM, [HARM], [{"violence": 0.93, "harassment": 0.4}]),
    _sample([CALM, HARM], [CALM, HARM], [{"violence": 0.01}, {"violence": 0.9, "spam": 0.7}]),
    _sample(PARTS, [f"{HARM}\n{CALM}"], [{"violence": 0.8}]),
)
