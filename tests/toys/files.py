"""A clean modality that takes a file, asks what it can, and draws its calls while decoding."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

from modgate.plugin import (
    Ask,
    Body,
    Call,
    Drawn,
    Endpoint,
    Fetch,
    File,
    Json,
    Modality,
    Need,
    Part,
    Plan,
    Request,
    Sample,
    Unit,
    Units,
    Unsupported,
    Usage,
    Work,
)
from toys.echo import Config, Joined
from toys.jobs import lines, measure

LINE = 8


class Files(Modality[Config]):
    name = "files"
    units = (Unit("characters", "bytes of the file"), Unit("tokens", "what the engine read"))
    gateway_counts = frozenset({"characters"})
    weights = {"characters": 1.0}
    config_type = Config

    def endpoints(self) -> Iterator[Endpoint]:
        yield Endpoint(path="/v1/file", shape=self.shape, body="form")

    def shape(self, request: Request) -> Generator[Need, Json, Plan]:
        fields = request.fields()
        if "url" in fields:
            file: File = yield Fetch(url=fields.text("url"), at_most=1000, field="url")
        else:
            file = request.file("file")
        with contextlib.suppress(Unsupported):
            yield Ask([Call(path="/count", body=Body.of(input="x"), size=Units(tokens=1))])
        found = yield Work(measure, file, self.config.most, field="file")
        pieces: list[str] = []

        def to_call(index: int, piece: Json) -> Call:
            pieces.append("x" * piece["characters"])
            part = Part(name="piece", content=piece["piece"].slice(), filename="piece")
            size = Units(characters=piece["characters"])
            return Call(path="/line", body=Body.form([part]), size=size)

        size = Units(characters=found["characters"])
        return Plan(calls=Drawn(lines, (file, LINE), to_call), relay=Drawing(pieces), reserve=size)

    samples = (
        Sample(
            path="/v1/file",
            form={"model": "m", "file": ("a.txt", b"hello you all")},
            answers=[[b'{"count":3}']],
            upstream=[b'{"text":"HELLO YO","tokens":2}', b'{"text":"U ALL","tokens":3}'],
            reply={"text": "HELLO YOU ALL"},
            usage=Units(characters=13, tokens=5),
        ),
        Sample(
            path="/v1/file",
            form={"model": "m", "url": "https://files.example/a.txt"},
            answers=[b"hello", Unsupported("no counting here"), ...],
            upstream=[b'{"text":"HELLO","tokens":2}'],
            reply={"text": "HELLO"},
            usage=Units(characters=5, tokens=2),
        ),
    )


class Drawing(Joined):
    """Nobody knows how many pieces there are until `close`."""

    def __init__(self, pieces: list[str]) -> None:
        super().__init__(pieces)
        self.closed = False

    def close(self, outcomes: Json) -> Iterator[bytes]:
        self.closed = True
        yield from super().close(outcomes)

    def usage(self, outcomes: Json) -> Json:
        usage = super().usage(outcomes)
        return Usage(usage.units, self.closed, usage.by)
