"""What breaks late in a stream, where its events are fed as they come from the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from gateways import start_words
from made_plugins import Words, plugin

from modgate.ledger.reader import rows
from modgate.plugin import (
    SSE,
    BadReply,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    Outcome,
    Plan,
    Relay,
    Request,
    Units,
    Usage,
)
from modgate.testing import FakeBackend, Scripted

WELL = [b"{}", b"{}"]
UNFIT, RELAY, DIALECT = b'{"unfit":1}', b'{"relay":1}', b'{"dialect":1}'


class Late(Relay):
    """Says each event, and cannot go on behind some."""

    head = SSE

    def __init__(self) -> None:
        self.said = 0

    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        self.said += 1
        yield self.sse({"said": self.said})
        if event.data == UNFIT:
            raise BadReply("it does not fit")
        if event.data == RELAY:
            raise RuntimeError("broken")

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        return ()

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=self.said))


class LateDialect(Dialect):
    """The home wire, up to an event that it breaks over."""

    modality = "words"

    def decode(self, event: Event) -> Iterable[Event]:
        if event.data == DIALECT:
            raise RuntimeError("broken")
        return super().decode(event)


class Talk(Words):
    """One call, and a stream of what it says."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Plan:
        call = Call(path="/words", body=Body.of(), size=Units(input_tokens=1), reply="sse")
        return Plan(calls=[call], relay=Late())


class Broken(Words):
    """Two calls at once, of which only the first can be drawn."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Plan:
        def calls() -> Iterator[Call]:
            yield Call(path="/words", body=Body.of(), size=Units(input_tokens=1), reply="sse")
            raise RuntimeError("broken")

        return Plan(calls=calls(), relay=Late(), width=2, reserve=Units(input_tokens=2))


async def test_an_error_of_drawing_is_told_at_once_while_nothing_was_sent(tmp_path: Path) -> None:
    async with FakeBackend() as engine:
        engine.answer("/words", Scripted(fault="silence"))
        async with (
            await start_words(tmp_path, plugin(modgate_modalities=[Broken]), engine.url) as gateway,
            httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers) as client,
        ):
            reply = await client.post("/v1/words", json={"model": "w"}, timeout=50)
    [row] = rows(gateway.ledger)

    assert (reply.status_code, row.ending) == (500, "fault")
    assert reply.json()["error"]["code"] == "internal_error"


@pytest.mark.parametrize(
    ("last", "said", "code", "ending"),
    [
        (UNFIT, 3, "upstream_invalid_response", "upstream_failed"),
        (RELAY, 2, "internal_error", "fault"),
        (DIALECT, 2, "internal_error", "fault"),
    ],
)
async def test_what_was_made_before_it_broke_is_sent_and_the_client_is_told(
    tmp_path: Path, last: bytes, said: int, code: str, ending: str
) -> None:
    made = plugin(modgate_modalities=[Talk], modgate_dialects=[LateDialect])
    async with FakeBackend() as engine:
        engine.answer("/words", Scripted(reply=[*WELL, last], pause_s=0.02))
        async with (
            await start_words(tmp_path, made, engine.url) as gateway,
            httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers) as client,
        ):
            reply = await client.post("/v1/words", json={"model": "w"})
    [row] = rows(gateway.ledger)

    assert reply.status_code == 200
    assert reply.text.count('"said"') == said
    assert reply.text.count(code) == 1
    assert row.ending == ending
    assert row.units["words.input_tokens"] >= said
