"""Relays that have more to say than anybody reads: they keep neither the loop nor the memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import httpx
import pytest
from gateways import Running, start_words
from made_plugins import Words, plugin

from modgate import responder
from modgate.ledger.reader import rows
from modgate.plugin import (
    SSE,
    BadReply,
    Body,
    Call,
    Endpoint,
    Event,
    GatewayError,
    Head,
    Outcome,
    Plan,
    Relay,
    Request,
    Units,
    Usage,
)
from modgate.testing import FakeBackend, Scripted

PIECE = b"data: %b\n\n" % (b"x" * 10_000)
PIECES = 30_000  # 300 MB: what a test survives, if nobody stops them


class Wordy(Relay):
    """Says a piece again and again, of its event number `at`, or at its end."""

    made = 0

    def __init__(self, head: Head, at: int) -> None:
        self.head = head
        self.at = at
        self.fed = 0

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        self.fed += 1
        return self.much() if self.fed == self.at else [PIECE]

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        return self.much() if self.at == 0 else ()

    def much(self) -> Iterator[bytes]:
        while Wordy.made < PIECES:
            Wordy.made += 1
            yield PIECE

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=self.fed))


class Watching(Wordy):
    observes = True


class LastWords(Wordy):
    """Fails, and never ends to say so."""

    def much(self) -> Iterator[bytes]:
        raise BadReply("it does not fit")

    def fail(self, error: GatewayError) -> Iterable[bytes]:
        return super().much()


class Crumb(bytes):
    """A piece of a reply that counts how many of them are held."""

    held = most = 0

    def __init__(self, said: bytes) -> None:
        del said
        Crumb.held += 1
        Crumb.most = max(Crumb.most, Crumb.held)

    def __del__(self) -> None:
        Crumb.held -= 1


class Crumbs(Wordy):
    """Says very little, very often."""

    crumb = b""

    def much(self) -> Iterator[bytes]:
        return (Crumb(self.crumb) for _ in super().much())


class FullCrumbs(Crumbs):
    crumb = b"x"


class Nothing(Wordy):
    """Says nothing, for ever."""

    def much(self) -> Iterator[bytes]:
        return repeat(b"")


class HeavyNothing(Nothing):
    heavy = True


CRUMBS = {"Crumbs": Crumbs.crumb, "FullCrumbs": FullCrumbs.crumb}
KINDS = (Wordy, Watching, LastWords, Crumbs, FullCrumbs, Nothing, HeavyNothing)
RELAYS = {each.__name__: each for each in KINDS}


class Talk(Words):
    """One call; `at`, `whole` and `relay` say which relay it has."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Plan:
        fields = request.fields()
        head = Head() if fields.flag("whole", False) else SSE
        relay = RELAYS[fields.text("relay", "Wordy")]
        call = Call(path="/words", body=Body.of(), size=Units(input_tokens=1), reply="sse")
        return Plan(calls=[call], relay=relay(head, fields.integer("at")))


@asynccontextmanager
async def running(
    folder: Path, pause_s: float = 0.0
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    async with FakeBackend() as engine:
        engine.answer("/words", Scripted(reply=[b"{}"] * 3, pause_s=pause_s))
        Wordy.made = 0
        async with (
            await start_words(folder, plugin(modgate_modalities=[Talk]), engine.url) as gateway,
            httpx.AsyncClient(
                base_url=gateway.url, headers=gateway.headers, verify=False
            ) as client,
        ):
            yield gateway, client


@pytest.mark.parametrize("at", [1, 2, 3, 0], ids=["first", "second", "last", "close"])
async def test_a_stream_is_made_as_it_is_read(tmp_path: Path, at: int) -> None:
    async with running(tmp_path) as (gateway, client):
        body = {"model": "w", "at": at}
        async with client.stream("POST", "/v1/words", json=body) as reply:
            async for _ in reply.aiter_raw():
                if Wordy.made:
                    break
    [row] = rows(gateway.ledger)

    assert row.ending == "client_gone"
    assert row.units["words.input_tokens"] == (at or 3)
    assert Wordy.made < PIECES


@pytest.mark.parametrize("pause_s", [0.0, 0.02], ids=["at once", "event by event"])
async def test_a_stream_of_many_pieces_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause_s: float
) -> None:
    monkeypatch.setattr(f"{__name__}.PIECES", 2500)
    async with running(tmp_path, pause_s) as (gateway, client):
        replies = [await client.post("/v1/words", json={"model": "w", "at": 2})]
        Wordy.made = 0
        replies += [await client.post("/v1/words", json={"model": "w", "at": 0})]

    assert [reply.content.count(PIECE) for reply in replies] == [2502, 2503]
    assert [row.ending for row in rows(gateway.ledger)] == ["ok", "ok"]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sse"])
async def test_one_that_only_observes_and_does_not_end_is_a_fault(
    tmp_path: Path, whole: bool
) -> None:
    async with running(tmp_path) as (gateway, client):
        body = {"model": "w", "at": 1, "whole": whole, "relay": "Watching"}
        reply = await client.post("/v1/words", json=body)
    [row] = rows(gateway.ledger)

    assert reply.json()["error"]["code"] == "internal_error"
    assert row.ending == "fault"
    assert Wordy.made < PIECES


async def test_a_whole_reply_that_does_not_end_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responder, "WHOLE_AT_MOST", 20 << 20)
    async with running(tmp_path) as (gateway, client):
        reply = await client.post("/v1/words", json={"model": "w", "at": 0, "whole": True})
    [row] = rows(gateway.ledger)

    assert reply.json()["error"]["code"] == "internal_error"
    assert (row.ending, row.units["words.input_tokens"]) == ("fault", 3)
    assert Wordy.made < PIECES


async def test_last_words_that_do_not_end_are_left_to_the_surface(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, client):
        body = {"model": "w", "at": 2, "relay": "LastWords"}
        reply = await client.post("/v1/words", json=body)
    [row] = rows(gateway.ledger)

    assert reply.content.count(PIECE) == 1
    assert "upstream_invalid_response" in reply.text
    assert row.ending == "upstream_failed"
    assert Wordy.made < PIECES


@pytest.mark.parametrize("relay", ["Crumbs", "FullCrumbs"])
async def test_a_whole_reply_in_crumbs_is_not_held_in_crumbs(tmp_path: Path, relay: str) -> None:
    async with running(tmp_path) as (_, client):
        body = {"model": "w", "at": 2, "whole": True, "relay": relay}
        reply = await client.post("/v1/words", json=body)

    assert reply.content == PIECE + CRUMBS[relay] * PIECES + PIECE
    assert Crumb.most < PIECES / 3


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sse"])
@pytest.mark.parametrize("at", [1, 2, 0], ids=["first", "second", "close"])
@pytest.mark.parametrize("relay", ["Nothing", "HeavyNothing"])
async def test_a_relay_that_says_nothing_for_ever_is_a_fault(
    tmp_path: Path, at: int, whole: bool, relay: str
) -> None:
    async with running(tmp_path) as (gateway, client):
        body = {"model": "w", "at": at, "whole": whole, "relay": relay}
        reply = await client.post("/v1/words", json=body, timeout=60)
    [row] = rows(gateway.ledger)

    assert "internal_error" in reply.text
    assert row.ending == "fault"
