"""Is a text against the rules?  OpenAI's `/v1/moderations`, metered in characters.

Its home wire: `POST /moderate {model, input: [text, ...]}`, answered with
`{"scores": [{category: number of 0 to 1}, ...]}`, one object a text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from acme_moderation.config import MODERATION, Config, Facts
from acme_moderation.samples import SAMPLES
from modgate.kit.facts import facts_of
from modgate.plugin import (
    BadReply,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    Fields,
    Json,
    JsonObject,
    Modality,
    Outcome,
    Outgoing,
    Plan,
    Relay,
    Request,
    Target,
    Unit,
    Units,
    Usage,
)

PATH, JUDGE = "/v1/moderations", "/moderate"
# Categories that a client of OpenAI looks for in every reply; an engine may have others.
CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening"),
    *("illicit", "illicit/violent", "self-harm", "self-harm/intent", "self-harm/instructions"),
    *("sexual", "sexual/minors", "violence", "violence/graphic"),
)
Scores = Mapping[str, float]


def judged(texts: Sequence[str], model: str | None = None) -> Call:
    """The call that judges these texts, in the home wire."""
    size = Units(characters=sum(map(len, texts)), inputs=len(texts))
    return Call(path=JUDGE, body=Body.of(input=list(texts)), size=size, model=model)


def scores_of(event: Event, count: int) -> list[Scores]:
    """An engine's reply: one object of numbers a text; BadReply when it is another."""
    found = event.fields().items("scores", empty=True)
    if len(found) != count:
        raise BadReply(f"the engine judged {len(found)} texts of {count}")
    for each in found:
        if not isinstance(each, dict) or not all(map(_share, each.values())):
            raise BadReply("the engine's reply does not fit: scores are numbers of 0 to 1")
    return found


def _share(value: Json) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1


class Told(Relay):
    """Says the engine's scores in OpenAI's words; billed once they are there."""

    def __init__(self, request: Request, size: Units, threshold: float) -> None:
        self._id = f"modr-{request.id.removeprefix('req_')}"
        self._model = request.asked
        self._size = size
        self._threshold = threshold
        self._scores: list[Scores] | None = None

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """The one reply."""
        self._scores = scores_of(event, self._size["inputs"])
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The whole answer."""
        results = [self._result(scores) for scores in self._scores or ()]
        yield self.json({"id": self._id, "model": self._model, "results": results})

    def _result(self, scores: Scores) -> JsonObject:
        every = {**dict.fromkeys(CATEGORIES, 0.0), **scores}
        over = {name: score >= self._threshold for name, score in every.items()}
        return {
            "flagged": any(over.values()),
            "categories": over,
            "category_scores": every,
            "category_applied_input_types": {name: ["text"] for name in every},
        }

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """All or nothing: there is one call."""
        done = self._scores is not None
        return Usage(self._size if done else Units(), exact=done, by="gateway")


class OpenAI(Dialect):
    """Engines that have `/v1/moderations` themselves."""

    modality = MODERATION
    family = "openai"

    def encode(self) -> Outgoing:
        """The same texts, at its path."""
        return Outgoing(path=PATH, body=self.call.body.put(model=self.served.name))

    def decode(self, event: Event) -> Iterable[Event]:
        """`results[].category_scores` as the home wire's `scores`."""
        results = event.fields().items("results")
        scores = [
            each.get("category_scores") if isinstance(each, dict) else None for each in results
        ]
        return [Event(json.dumps({"scores": scores}).encode())]


class Moderation(Modality[Config]):
    """Judges texts, metered in characters and inputs."""

    name = MODERATION
    units = (
        Unit("characters", "Unicode code points of the texts"),
        Unit("inputs", "texts that were judged"),
    )
    weights: ClassVar[Mapping[str, float]] = {"characters": 0.001, "inputs": 1.0}
    phases: ClassVar[Mapping[str, Target]] = {
        "total": Target(base_s=0.1, per_unit={"characters": 0.0001})
    }
    deadlines: ClassVar[Mapping[str, Target]] = {
        "first_byte": Target(base_s=30.0),
        "total": Target(base_s=30.0),
    }
    gateway_counts = frozenset({"characters", "inputs"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES

    def endpoints(self) -> Iterator[Endpoint]:
        """The one path."""
        yield Endpoint(
            path=PATH,
            shape=self.shape,
            model_optional=True,
            summary="judge texts by categories",
            operation="moderation",
        )

    def shape(self, request: Request) -> Plan:
        """One call with every text."""
        fields, facts = request.fields(), facts_of(request, Facts)
        call = judged(list(self._texts(fields)))
        if call.size["characters"] > self.config.max_characters:
            reason = f"'input' has more than the {self.config.max_characters} characters allowed"
            raise fields.fault("input", "string_above_max_length", reason)
        return Plan(calls=(call,), relay=Told(request, call.size, facts.threshold))

    def _texts(self, fields: Fields) -> Iterator[str]:
        """A text, a list of texts, or a list of parts, which are judged as one text.

        Source: OpenAI's API reference, `POST /v1/moderations`, `input`.
        """
        if not isinstance(fields.get("input"), list):
            yield fields.text("input")
            return
        given = fields.items("input", at_most=self.config.max_inputs)
        if all(isinstance(each, str) for each in given):
            yield from given
        elif all(isinstance(each, dict) for each in given):
            yield "\n".join(_part(fields, each) for each in given)
        else:
            raise fields.wrong("input", "a string, a list of strings, or a list of parts")

    def count(self, call: Call, event: Event) -> Usage:
        """What an `Ask` did cost: we know what we sent."""
        return Usage(call.size, exact=True, by="gateway")


def _part(fields: Fields, part: JsonObject) -> str:
    if part.get("type") == "image_url":
        reason = "images are not judged here; send texts"
        raise fields.fault("input", "unsupported_input", reason)
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str):
        raise fields.wrong("input", "parts of the type 'text' with a 'text'")
    return text
