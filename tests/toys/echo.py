"""A small clean modality: text said back, in pieces, as a stream of words, and raw."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import ClassVar

import orjson
from pydantic import BaseModel

from modgate.plugin import (
    SSE,
    Batching,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    Head,
    Json,
    Modality,
    Outcome,
    Plan,
    Relay,
    Request,
    Sample,
    Unit,
    Units,
    Usage,
    Work,
)

PIECE = 4
TONES = ("plain", "loud")


class Config(BaseModel, frozen=True, extra="forbid"):
    most: int = 1000


class Joined(Relay):
    """Joins the pieces of a text: characters counted here, tokens by the engine."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = pieces
        self.done: list[str] = []
        self.tokens = 0

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        fields = event.fields()
        self.done.append(fields.text("text"))
        self.tokens += fields.integer("tokens", at_least=0)
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        yield self.json({"text": "".join(self.done)})

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        characters = sum(len(piece) for piece in self.pieces[: len(self.done)])
        whole = len(self.done) == len(self.pieces)
        return Usage(Units(characters=characters, tokens=self.tokens), exact=whole, by="engine")


class Streamed(Relay):
    """Passes the words of a stream on."""

    head = SSE

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = 0
        self.tokens: int | None = None

    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        fields = event.fields()
        self.tokens = fields.integer("tokens", None, at_least=0)
        self.words += 1
        yield self.sse({"text": fields.text("text")})

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        over = self.tokens is not None
        units = Units(characters=len(self.text) if self.words else 0, tokens=self.tokens or 0)
        return Usage(units, exact=over, by="engine")


class Raw(Relay):
    """Passes chunks on in upper case."""

    head = Head(kind="chunked", content_type="text/plain")

    def __init__(self, text: str) -> None:
        self.text = text
        self.seen = 0

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        self.seen += len(event.data)
        yield event.data.upper()

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        ended = bool(outcomes) and outcomes[-1].ok
        return Usage(Units(characters=len(self.text) if self.seen else 0), exact=ended)


def key(call: Call) -> str | None:
    return call.path if call.path == "/echo" else None


def merge(calls: Sequence[Call]) -> Call:
    texts = [text for call in calls for text in orjson.loads(call.body.members()["texts"])]
    size = sum((call.size for call in calls), Units())
    return Call(path="/echo", body=Body.of(texts=texts), size=size)


def split(calls: Sequence[Call], event: Event) -> Sequence[Event]:
    return [Event(orjson.dumps(each)) for each in event.json()["many"]]


def echoed(call: Call) -> bytes:
    """The toy's engine: one reply, or as many as there are texts."""
    texts = orjson.loads(call.body.members()["texts"])
    replies = [
        {"text": text.upper(), "tokens": len(text), "characters": len(text)} for text in texts
    ]
    return orjson.dumps(replies[0] if len(replies) == 1 else {"many": replies})


class Toy(Modality[Config]):
    name = "toy"
    units = (Unit("characters", "code points of the text"), Unit("tokens", "what the engine read"))
    weights: ClassVar = {"characters": 1.0}
    gateway_counts = frozenset({"characters"})
    config_type = Config
    joined: ClassVar[type[Joined]] = Joined
    streamed: ClassVar[type[Streamed]] = Streamed
    raw: ClassVar[type[Raw]] = Raw
    splitter: ClassVar[Callable[..., Sequence[Event]]] = staticmethod(split)

    def endpoints(self) -> Iterator[Endpoint]:
        batch = Batching(key=key, merge=merge, split=self.splitter, count=lambda call: 1)
        yield Endpoint(path="/v1/echo", shape=self.shape, batch=batch)
        yield Endpoint(path="/v1/echo/stream", shape=self.shape_stream, kind="stream")
        yield Endpoint(path="/v1/echo/raw", shape=self.shape_raw, kind="stream")

    def text(self, request: Request) -> str:
        fields = request.fields()
        fields.choice("tone", TONES, "plain")
        return fields.text("text", at_most=self.config.most)

    def shape(self, request: Request) -> Plan | Generator[Work, Json, Plan]:
        text = self.text(request)
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
        calls = [
            Call(path="/echo", body=Body.of(texts=[piece]), size=Units(characters=len(piece)))
            for piece in pieces
        ]
        return Plan(calls=calls, relay=self.joined(pieces), width=2)

    def shape_stream(self, request: Request) -> Plan:
        text = self.text(request)
        size = Units(characters=len(text))
        calls = (
            Call(path="/stream", body=Body.of(texts=[each]), reply="sse", size=size)
            for each in [text]
        )
        return Plan(calls=calls, relay=self.streamed(text), reserve=size)

    def shape_raw(self, request: Request) -> Plan:
        text = self.text(request)
        size = Units(characters=len(text))
        call = Call(path="/raw", body=Body.of(texts=[text]), reply="chunked", size=size)
        return Plan(calls=[call], relay=self.raw(text))

    samples = (
        Sample(
            path="/v1/echo",
            json={"model": "m", "text": "hello you", "tone": "loud"},
            upstream=[
                b'{"text":"HELL","tokens":2,"characters":4}',
                b'{"text":"O YO","tokens":3,"characters":4}',
                b'{"text":"U","tokens":1,"characters":1}',
            ],
            reply={"text": "HELLO YOU"},
            usage=Units(characters=9, tokens=6),
        ),
        *(
            Sample(
                path="/v1/echo",
                json={"model": "m", "text": text},
                upstream=[b'{"text":"%b","tokens":3,"characters":3}' % text.upper().encode()],
                reply={"text": text.upper()},
                usage=Units(characters=len(text), tokens=3),
            )
            for text in ("abc", "xyz")
        ),
        Sample(
            path="/v1/echo/stream",
            json={"model": "m", "text": "hi you all"},
            upstream=[[b'{"text":"hi"}', b'{"text":"you"}', b'{"text":"all","tokens":7}']],
            reply=[{"text": "hi"}, {"text": "you"}, {"text": "all"}],
            usage=Units(characters=10, tokens=7),
        ),
        Sample(
            path="/v1/echo/raw",
            json={"model": "m", "text": "hi you"},
            upstream=[[b"hi ", b"you"]],
            reply=b"HI YOU",
            usage=Units(characters=6),
        ),
    )


class ToyHome(Dialect):
    modality = "toy"
