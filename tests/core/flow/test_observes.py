"""A relay that only observes: the engine's events go out as they are.

Source: architecture.md, the relay contract.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import ModuleType
from typing import ClassVar

import pytest
from aiohttp import ClientSession
from toys.echo import Raw, Streamed, Toy, ToyHome

from modgate.plugin import BadReply, Event, Receipt, hookimpl
from modgate.testing import FakeBackend, Gateway, Scripted

Starts = Callable[..., Awaitable[Gateway]]
WORDS = [b'{"text": "hi", "mine": [1]}', b'{"text":"you","tokens":2}']


class Watched(Streamed):
    """Counts the words of a stream; what it yields is heard by nobody."""

    observes = True

    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        if b"bad" in event.data:
            raise BadReply("it does not fit")
        yield from super().feed(index, event)

    def close(self, outcomes: object) -> Iterable[bytes]:
        yield b"data: [DONE]\n\n"


class WatchedRaw(Raw):
    observes = True


class WatchingToy(Toy):
    streamed: ClassVar[type[Streamed]] = Watched
    raw: ClassVar[type[Raw]] = WatchedRaw


@pytest.fixture
def toy() -> ModuleType:
    module = ModuleType("toy")
    module.modgate_modalities = hookimpl(lambda: [WatchingToy])
    module.modgate_dialects = hookimpl(lambda: [ToyHome])
    return module


async def said(running: Gateway, path: str) -> tuple[int, bytes]:
    asked = {"model": "m", "text": "hi you"}
    async with (
        ClientSession() as client,
        client.post(running.url + path, json=asked, headers=running.headers) as reply,
    ):
        return reply.status, await reply.read()


async def test_a_stream_that_is_observed_goes_out_as_it_came_and_is_billed(
    gateway: Starts, fake_backend: FakeBackend, toy: ModuleType
) -> None:
    fake_backend.answer("/stream", Scripted(reply=WORDS, pause_s=0.02))
    running = await gateway("toy", module=toy)
    receipts: list[Receipt] = []
    running._app.state.observer.also(receipts.append)
    status, body = await said(running, "/v1/echo/stream")

    assert status == 200
    assert body == b"".join(b"data: " + each + b"\n\n" for each in [*WORDS, b"[DONE]"])
    assert (receipts[0].units["toy.tokens"], receipts[0].exact) == (2, True)


async def test_chunks_that_are_observed_go_out_as_they_came(
    gateway: Starts, fake_backend: FakeBackend, toy: ModuleType
) -> None:
    pieces = Scripted(reply=[b"hi ", b"you"], content_type="text/plain", pause_s=0.02)
    fake_backend.answer("/raw", pieces)

    assert await said(await gateway("toy", module=toy), "/v1/echo/raw") == (200, b"hi you")


async def test_what_the_observer_cannot_take_does_not_go_out(
    gateway: Starts, fake_backend: FakeBackend, toy: ModuleType
) -> None:
    fake_backend.answer("/stream", Scripted(reply=[WORDS[0], b'{"bad":1}'], pause_s=0.02))
    status, body = await said(await gateway("toy", module=toy), "/v1/echo/stream")

    assert status == 200
    assert b'"bad"' not in body
    assert b"upstream_invalid_response" in body


def test_an_event_is_written_as_it_was_read() -> None:
    event = Event(b"one\ntwo", "word")

    assert event.sse() == b"event: word\ndata: one\ndata: two\n\n"
