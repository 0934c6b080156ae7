"""Names with several addresses, which take turns."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
from rigs.shortage import no_file_left
from rigs.wired import OK, Start, saying
from yarl import URL

from modgate.errors import Overloaded, Unreached, UpstreamFailed, UpstreamTimedOut
from modgate.upstream.connection import KEEP_ALIVE, Connection
from modgate.upstream.dialer import Dialer
from modgate.upstream.pool import Pool


class Book:
    """A resolver that counts."""

    def __init__(self, *addresses: str, after_s: float = 0.0) -> None:
        self.addresses = addresses
        self.after_s = after_s
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        await asyncio.sleep(self.after_s)
        if not self.addresses:
            raise OSError("no such name")
        return self.addresses


def dialer(url: str, book: Book) -> Dialer:
    return Dialer(URL(url.replace("127.0.0.1", "engine.local")), resolver=book)


async def test_an_address_that_refuses_gives_way_to_the_next(start: Start) -> None:
    engine = await start(saying(OK))
    dials = dialer(engine.url, Book("127.0.0.2", "127.0.0.1", "127.0.0.3"))
    pool = Pool()
    for _ in range(6):
        await dials.dial(pool.connection())

    assert len(pool.live) == 6
    assert dials._failed <= {"127.0.0.2", "127.0.0.3"}
    pool.close()


@pytest.mark.parametrize("known", [True, False])
async def test_an_engine_is_not_blamed_where_the_gateway_has_no_file_left(
    start: Start, known: bool
) -> None:
    engine = await start(saying(OK))
    dials = dialer(engine.url, Book(*["127.0.0.1"] * known))
    pool = Pool()
    with no_file_left(), pytest.raises(Overloaded, match="can open no more connections") as caught:
        await dials.dial(pool.connection())
    with pytest.raises(Unreached) if not known else nullcontext():
        await dials.dial(pool.connection())

    assert caught.value.retry_after_s is None  # the engine is not full for a while
    pool.close()


async def test_an_address_that_failed_is_tried_last(start: Start) -> None:
    engine = await start(saying(OK))
    dials = dialer(engine.url, Book("127.0.0.2", "127.0.0.1"))
    pool = Pool()
    for _ in range(3):
        await dials.dial(pool.connection())

    assert (await dials._addresses())[0] == "127.0.0.1"
    assert (await dials._addresses())[0] == "127.0.0.1"
    pool.close()


async def test_all_addresses_refuse(start: Start) -> None:
    engine = await start(saying(OK))
    pool = Pool()

    with pytest.raises(UpstreamFailed, match="no connection"):
        await dialer(engine.url, Book("127.0.0.2", "127.0.0.3")).dial(pool.connection())
    assert not pool.live


async def test_addresses_take_turns(start: Start) -> None:
    engine = await start(saying(OK))
    dials = dialer(engine.url, Book("127.0.0.1", "127.0.0.2", "127.0.0.3"))

    firsts = [(await dials._addresses())[0] for _ in range(6)]

    assert sorted(firsts) == sorted(2 * ["127.0.0.1", "127.0.0.2", "127.0.0.3"])


async def test_those_who_wait_for_a_name_share_one_look_up(start: Start) -> None:
    engine = await start(saying(OK))
    book = Book("127.0.0.1", after_s=0.05)
    dials = dialer(engine.url, book)
    pool = Pool()
    await asyncio.gather(*(dials.dial(pool.connection()) for _ in range(10)))
    await dials.dial(pool.connection())

    assert book.asked == 1
    assert len(pool.live) == 11
    pool.close()


async def test_one_who_leaves_does_not_end_the_look_up_of_others(start: Start) -> None:
    engine = await start(saying(OK))
    dials = dialer(engine.url, Book("127.0.0.1", after_s=0.1))
    pool = Pool()
    leaver = asyncio.create_task(dials.dial(pool.connection()))
    stayer = asyncio.create_task(dials.dial(pool.connection()))
    await asyncio.sleep(0.02)
    leaver.cancel()
    await stayer

    assert leaver.cancelled()
    assert len(pool.live) == 1
    pool.close()


async def test_a_name_that_nobody_answers_is_given_up_in_time() -> None:
    dials = dialer("http://engine.local:1", Book("127.0.0.1", after_s=60))
    pool = Pool()
    began = time.monotonic()

    with pytest.raises(UpstreamTimedOut):
        await dials.dial(pool.connection(), 0.1)
    assert time.monotonic() - began < 1.0
    assert not pool.live
    dials.close()


async def test_a_name_without_an_address_is_asked_again() -> None:
    book = Book()
    dials = dialer("http://engine.local:1", book)
    pool = Pool()
    for _ in range(2):
        with pytest.raises(UpstreamFailed):
            await dials.dial(pool.connection())

    assert book.asked == 2
    assert not pool.live


async def test_a_connection_asks_whether_its_engine_is_still_there(start: Start) -> None:
    engine = await start(saying(OK))
    connection = Connection(lambda each: None, lambda each: None)
    await Dialer(URL(engine.url)).dial(connection)
    assert connection._transport is not None
    sock = connection._transport.get_extra_info("socket")
    said = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name, _ in KEEP_ALIVE]
    alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    connection.abort()

    assert alive == 1
    assert said == [30, 10, 3, 60_000]
