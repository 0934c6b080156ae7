"""A reply that is given to a function as it comes."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from rigs.wired import BODY, CHUNKED, OK, PATH, Line, Start, saying
from waiting import until

from modgate.errors import GatewayError, UpstreamFailed
from modgate.upstream.client import Answer, Client


class TestDelivering:
    async def test_bytes_come_within_the_networks_tick_and_the_end_once(self, start: Start) -> None:
        async def talk(line: Line) -> None:
            await line.call()
            await line.say(CHUNKED + b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n", every_s=0.02)
            await line.say(b"0\r\n\r\n")
            await line.left()

        engine = await start(talk)
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        found: list[bytes] = []
        ends: list[GatewayError | None] = []
        answer.deliver(found.append, ends.append)
        assert found == [b"a"]
        await until(lambda: bool(ends))

        assert (found, ends) == ([b"a", b"b", b"c"], [None])
        assert client.connections == (1, 1)
        await client.close()

    async def test_a_reply_that_is_over_is_delivered_at_once(self, start: Start) -> None:
        engine = await start(saying(OK))
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        found: list[bytes] = []
        ends: list[GatewayError | None] = []
        await asyncio.sleep(0.02)
        answer.deliver(found.append, ends.append)

        assert (found, ends) == ([b"ok"], [None])
        await client.close()

    async def test_a_break_is_told_behind_what_was_good(self, start: Start) -> None:
        engine = await start(saying(CHUNKED + b"1\r\na\r\n", close=True))
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        found: list[bytes] = []
        ends: list[GatewayError | None] = []
        answer.deliver(found.append, ends.append)
        await until(lambda: bool(ends))

        assert found == [b"a"]
        assert isinstance(ends[0], UpstreamFailed)
        assert len(ends) == 1

    async def test_nothing_comes_while_it_is_paused_or_after_it_is_closed(
        self, start: Start
    ) -> None:
        async def talk(line: Line) -> None:
            await line.call()
            await line.say(CHUNKED)
            for _ in range(1000):
                await line.say(b"1\r\nx\r\n", every_s=0.002)

        engine = await start(talk)
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        found: list[bytes] = []
        ends: list[GatewayError | None] = []
        answer.deliver(found.append, ends.append)
        await until(lambda: len(found) > 3)
        answer.pause()
        at_pause = len(found)
        await asyncio.sleep(0.05)
        assert len(found) == at_pause
        answer.resume()
        await until(lambda: len(found) > at_pause)
        answer.close()
        at_close = len(found)
        await asyncio.sleep(0.05)

        assert len(found) == at_close
        assert ends == []
        assert client.connections == (0, 0)

    async def test_it_may_be_closed_from_within(self, start: Start) -> None:
        engine = await start(saying(CHUNKED + b"1\r\na\r\n0\r\n\r\n"))
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        ends: list[GatewayError | None] = []
        answer.deliver(lambda _: answer.close(), ends.append)
        await asyncio.sleep(0.02)

        assert ends == []
        await client.close()


async def test_behind_a_read_that_took_long_others_have_a_turn(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, turns, taken = asyncio.get_running_loop(), 0, list[int]()
    take = Answer.take

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    def noted(answer: Answer, data: bytes) -> None:
        taken.append(turns)
        take(answer, data)

    monkeypatch.setattr("modgate.upstream.connection.LONG_S", -1.0)
    monkeypatch.setattr(Answer, "take", noted)
    total = 4 << 20
    engine = await start(
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total, bytes(total))
    )
    client = Client(engine.url)
    turn()
    answer = await client.send(PATH, BODY, {})
    body = await answer.whole(total)

    assert len(body) == total
    assert len(taken) == len(set(taken)) > 2
    await client.close()


async def test_a_reply_of_many_small_pieces_weighs_what_it_has(start: Start) -> None:
    pieces = 20_000

    async def talk(line: Line) -> None:
        await line.call()
        await line.say(CHUNKED)
        await line.left()

    engine = await start(talk)
    client = Client(engine.url)
    answer = await client.send(PATH, BODY, {})
    tracemalloc.start()
    try:
        for _ in range(pieces):
            answer.take(b"2\r\nab\r\n")
        weight = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert weight < 3 * 2 * pieces
    assert await answer.read() == b"ab" * pieces
    answer.close()
    await client.close()
