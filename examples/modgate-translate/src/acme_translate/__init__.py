"""Text translation for modgate, metered in characters of source text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from modgate.plugin import (
    Call,
    Dialect,
    Endpoint,
    Event,
    GatewayError,
    JsonObject,
    Modality,
    Outcome,
    Outgoing,
    Plan,
    Relay,
    Request,
    Sample,
    Surface,
    Target,
    Unit,
    Units,
    Usage,
    hookimpl,
)

LANGUAGE_AT_MOST = 35  # characters of a language tag; Source: RFC 5646 section 4.4.1


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.translate]` section."""

    max_characters: int = Field(20_000, ge=1, description="characters of one request")
    piece: int = Field(2_000, ge=1, description="characters that an engine is sent at once")
    width: int = Field(4, ge=1, le=64, description="calls of one request at once")


class Acme(Surface):
    """What Acme's own client reads: a flat error with the request's id."""

    name = "acme"

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """`{"fault", "said", "field", "request"}`."""
        said = {"fault": error.code, "said": error.message, "field": error.field}
        return {**said, "request": request_id}


class LibreTranslate(Dialect):
    """LibreTranslate has other words for the same; it knows one model, so none is named."""

    modality = "translate"
    family = "libretranslate"

    def encode(self) -> Outgoing:
        """`{q, source, target, format}`: the client's own bytes, under other names."""
        body = self.call.body.drop("model").rename("text", "q").rename("to", "target")
        if body.members().get("from", b"null") == b"null":
            body = body.drop("from").put(source="auto")
        body = body.rename("from", "source")
        return Outgoing(path="/translate", body=body.put(format="text"))

    def decode(self, event: Event) -> Iterable[Event]:
        """`{translatedText}` as the home wire's `{text}`."""
        text = event.fields().text("translatedText", empty=True)
        return [Event(json.dumps({"text": text}).encode())]


class Joined(Relay):
    """Joins the translated pieces in the order of the source; counts those that were translated."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces
        self._done: dict[int, str] = {}

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """A translated piece.  Engines trim white space: what ended the source ends it, too."""
        piece = self._pieces[index]
        translated = event.fields().text("text", empty=True).rstrip()
        self._done[index] = translated + piece[len(piece.rstrip()) :]
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The whole text, and what it costs."""
        text = "".join(self._done[index] for index in sorted(self._done))
        yield self.json({"text": text, "characters": self._characters()})

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """Exact once every piece is there; before, a floor."""
        whole = len(self._done) == len(self._pieces)
        return Usage(Units(characters=self._characters()), exact=whole, by="gateway")

    def _characters(self) -> int:
        return sum(len(self._pieces[index]) for index in self._done)


class Translate(Modality[Config]):
    """Text in another language.  Its home wire: `POST /translate {text, to, from?} -> {text}`."""

    name = "translate"
    units = (Unit("characters", "Unicode code points of source text"),)
    weights: ClassVar[Mapping[str, float]] = {"characters": 1.0}
    phases: ClassVar[Mapping[str, Target]] = {
        "total": Target(base_s=0.2, per_unit={"characters": 0.002})
    }
    gateway_counts = frozenset({"characters"})
    config_type = Config
    samples: ClassVar[Sequence[Sample]] = tuple(
        Sample(
            path="/v1/translate",
            json={"model": "m", "text": text, "to": "fr", **more},
            upstream=[json.dumps({"text": translated}).encode()],
            reply={"text": translated, "characters": len(text)},
            usage=Units(characters=len(text)),
        )
        for text, translated, more in (
            ("Good morning", "Bonjour", {}),
            ("Naïve 👋\n", "Naïf 👋\n", {"from": "en"}),
            ("Guten Tag", "Bonjour", {"from": "de", "glossary": "acme-2"}),
        )
    )

    def endpoints(self) -> Iterator[Endpoint]:
        """One path, in Acme's words."""
        yield Endpoint(
            path="/v1/translate",
            surfaces=("acme",),
            shape=self.shape,
            summary="translate a text",
            operation="translate",
        )

    def shape(self, request: Request) -> Plan:
        """A call a piece; fields that are not ours go to the engine as they came."""
        fields = request.fields()
        text = fields.text("text", at_most=self.config.max_characters)
        fields.text("to", at_most=LANGUAGE_AT_MOST)
        fields.text("from", None, at_most=LANGUAGE_AT_MOST)
        pieces = list(cut(text, self.config.piece))
        calls = [
            Call(path="/translate", body=fields.rest(text=piece), size=Units(characters=len(piece)))
            for piece in pieces
        ]
        return Plan(calls=calls, relay=Joined(pieces), width=self.config.width)


def cut(text: str, most: int) -> Iterator[str]:
    """Pieces of at most `most` characters that make the text again, cut behind words if any."""
    start = 0
    while start < len(text):
        end = start + most
        if end < len(text):
            gap = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
            end = end if gap < 0 else gap + 1
        yield text[start:end]
        start = end


@hookimpl
def modgate_modalities() -> list[type[Translate]]:
    """The one modality of this plugin."""
    return [Translate]


@hookimpl
def modgate_dialects() -> list[type[LibreTranslate]]:
    """Engines that can serve it, besides those that speak its home wire."""
    return [LibreTranslate]


@hookimpl
def modgate_surfaces() -> list[type[Acme]]:
    """What its clients speak."""
    return [Acme]
