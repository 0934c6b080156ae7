"""The scripted engine, and the clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from modgate.testing import FakeBackend, FakeClock, Scripted

PATH = "/v1/x"


@pytest.fixture
async def backend() -> AsyncIterator[FakeBackend]:
    async with FakeBackend() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def test_answers_are_given_in_order_and_the_last_stays(
    backend: FakeBackend, client: aiohttp.ClientSession
) -> None:
    backend.answer(PATH, Scripted(status=503, reply=b"busy"), Scripted(reply=b'{"n":1}'))

    seen = []
    for _ in range(3):
        async with client.post(backend.url + PATH, json={"a": 1}) as reply:
            seen.append((reply.status, await reply.read()))
    assert seen == [(503, b"busy"), (200, b'{"n":1}'), (200, b'{"n":1}')]
    assert [call.json() for call in backend.calls] == [{"a": 1}] * 3


async def test_a_list_is_sent_as_events(
    backend: FakeBackend, client: aiohttp.ClientSession
) -> None:
    backend.answer(PATH, Scripted(reply=[b"1", b"2"]))

    async with client.post(backend.url + PATH) as reply:
        assert reply.content_type == "text/event-stream"
        assert await reply.read() == b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"


async def test_a_list_with_a_type_is_sent_as_chunks(
    backend: FakeBackend, client: aiohttp.ClientSession
) -> None:
    backend.answer(PATH, Scripted(reply=[b"ab", b"c"], content_type="audio/pcm"))

    async with client.post(backend.url + PATH) as reply:
        assert (reply.content_type, await reply.read()) == ("audio/pcm", b"abc")


@pytest.mark.parametrize("fault", ["reset", "half"])
async def test_a_broken_reply_breaks_the_connection(
    backend: FakeBackend, client: aiohttp.ClientSession, fault: str
) -> None:
    backend.answer(PATH, Scripted(reply=[b"1", b"2", b"3"], fault=fault, after=1))

    with pytest.raises(aiohttp.ClientError):
        async with client.post(backend.url + PATH) as reply:
            await reply.read()


async def test_garbage_is_a_good_status_without_a_reply(
    backend: FakeBackend, client: aiohttp.ClientSession
) -> None:
    backend.answer(PATH, Scripted(fault="garbage"))

    async with client.post(backend.url + PATH) as reply:
        assert (reply.status, (await reply.read())[:6]) == (200, b"<html>")


async def test_silence_lasts_until_the_gateway_leaves_and_that_is_seen(
    backend: FakeBackend, client: aiohttp.ClientSession
) -> None:
    backend.answer(PATH, Scripted(reply=[b"1", b"2"], fault="silence", after=1))

    reply = await client.post(backend.url + PATH)
    assert await reply.content.readany() == b"data: 1\n\n"
    assert not backend.calls[0].left.is_set()
    reply.close()
    async with asyncio.timeout(5):
        await backend.calls[0].left.wait()


async def test_what_is_not_scripted_is_not_found_but_health_is_good(
    backend: FakeBackend, client: aiohttp.ClientSession
) -> None:
    async with client.post(backend.url + "/nothing") as lost:
        assert lost.status == 404
    async with client.get(backend.url + "/health") as health:
        assert health.status == 200


def test_a_fake_clock_moves_when_told_and_never_back() -> None:
    clock = FakeClock(now=5.0, wall=100.0)

    clock.advance(2.5)
    assert (clock.now(), clock.wall()) == (7.5, 102.5)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
