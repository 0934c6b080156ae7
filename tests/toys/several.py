"""A modality whose plans go to several models, and one of another kind that it may call."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence

from made_plugins import Sounds, Words, plugin

from modgate.errors import BadReply
from modgate.plugin import (
    Ask,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    GatewayError,
    Head,
    Json,
    Outcome,
    Plan,
    Relay,
    Request,
    StandIn,
    Units,
    Usage,
)

SIZE = Units(input_tokens=10)
BOOK = """
[price.book]
effective = 2020-01-01
currency = "EUR"
units = { "words.input_tokens" = "100/1k", "sounds.audio_seconds" = "7200/hour" }
[[price.book.case]]
model = "judge"
units = { "words.input_tokens" = "1/1k" }
"""


class Joined(Relay):
    """Repeats what came last, and counts the calls of the request's own model."""

    head = Head()

    def __init__(self, models: Sequence[str | None]) -> None:
        self._models = models
        self._last = Event(b"{}")
        self._fed: set[int] = set()

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        self._last = event
        self._fed.add(index)
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        yield self.json(self._last.json())

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=10 * sum(self._models[at] is None for at in self._fed)))


class Several(Words):
    """Asks the models that the request names, and may fail; then calls others, `width` at once.

    "" is its own.  `lazy`, `foresees`: so many calls are foreseen, one where they are drawn lazily.
    """

    stand_in = StandIn()

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Generator[Ask, Json, Plan]:
        fields = request.fields()
        for name in fields.get("asks") or ():
            with contextlib.suppress(GatewayError):
                yield Ask([self._call(name, "whole")])
        models = [name or None for name in fields.get("calls") or ()]
        calls = [self._call(model, str(fields.get("reply") or "whole")) for model in models]
        lazy = bool(fields.get("lazy"))
        foresees = fields.integer("foresees", int(lazy))
        return Plan(
            calls=iter(calls) if lazy else calls,
            relay=Joined(models),
            reserve=Units(input_tokens=10 * foresees) if foresees else None,
            width=fields.integer("width", 1),
            partial=bool(fields.get("partial")),
        )

    @staticmethod
    def _call(model: str | None, reply: str) -> Call:
        size = Units(audio_ms=9000) if model == "ear" else SIZE
        body = Body.of(word="?")
        if reply == "sse":
            return Call(path="/words", body=body, size=size, model=model, reply="sse")
        return Call(path="/words", body=body, size=size, model=model)

    def count(self, call: Call, event: Event) -> Usage:
        if "word" not in event.fields():
            raise BadReply("a word is missing")
        return Usage(Units(input_tokens=7))


class Heard(Sounds):
    """Three seconds a call, whatever it was thought to need."""

    def count(self, call: Call, event: Event) -> Usage:
        return Usage(Units(audio_ms=3000))


class Plain(Dialect):
    modality = "words"


class Loud(Dialect):
    modality = "sounds"


SEVERAL = {
    "words": plugin(modgate_modalities=[Several], modgate_dialects=[Plain]),
    "sounds": plugin(modgate_modalities=[Heard], modgate_dialects=[Loud]),
}
