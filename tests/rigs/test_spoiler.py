"""The proxy that spoils: each way, as whoever connects sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from rigs.spoiler import Kind, Spoiler, Spoils

ASKED = b"POST / HTTP/1.1\r\nx-request-id: one\r\n\r\n"
REPLY = b"0123456789"
PEERS: list[asyncio.StreamWriter] = []


@asynccontextmanager
async def spoiled(spoils: Spoils | None = None) -> AsyncIterator[Spoiler]:
    """Before an engine that answers each piece of bytes with the same ten."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(1000):
                writer.write(REPLY)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Spoiler(*server.sockets[0].getsockname()[:2]) as spoiler:
        spoiler.spoil(spoils)
        try:
            yield spoiler
        finally:
            for writer in PEERS:
                writer.close()
            PEERS.clear()


class Peer:
    """Somebody who connects."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, within_s: float = 2.0) -> bytes:
        """What is answered; TimeoutError when nothing is."""
        self.writer.write(ASKED)
        return await self.read(within_s)

    async def read(self, within_s: float = 2.0) -> bytes:
        """What comes next."""
        async with asyncio.timeout(within_s):
            return await self.reader.read(1000)


async def connected(spoiler: Spoiler, within_s: float = 2.0) -> Peer:
    port = int(spoiler.url.rpartition(":")[2])
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    PEERS.append(writer)
    return Peer(reader, writer)


async def test_what_is_not_spoiled_goes_through_and_is_counted() -> None:
    async with spoiled() as spoiler:
        peer = await connected(spoiler)
        replies = [await peer.ask() for _ in range(3)]

    assert replies == [REPLY] * 3
    assert spoiler.asked == {"one": 3}


async def test_a_reply_is_late_by_so_much() -> None:
    async with spoiled(Spoils(kind="latency", seconds=0.2)) as spoiler:
        peer = await connected(spoiler)
        began = time.monotonic()
        reply = await peer.ask()
        took_s = time.monotonic() - began

    assert reply == REPLY
    assert 0.2 <= took_s < 1.5


async def test_a_stall_holds_what_it_gives_on_later() -> None:
    async with spoiled() as spoiler:
        old = await connected(spoiler)
        await old.ask()
        spoiler.spoil(Spoils(kind="stall"))
        new = await connected(spoiler)
        for peer in (old, new):
            with pytest.raises(TimeoutError):
                await peer.ask(within_s=0.1)
        spoiler.spoil(None)
        replies = [await peer.read() for peer in (old, new)]

    assert replies == [REPLY] * 2


@pytest.mark.parametrize("kind", ["reset", "refuse"])
async def test_open_connections_are_reset(kind: Kind) -> None:
    async with spoiled() as spoiler:
        peer = await connected(spoiler)
        await peer.ask()
        spoiler.spoil(Spoils(kind=kind))

        with pytest.raises(ConnectionResetError):
            await peer.ask()


async def test_new_connections_are_reset_once_something_is_sent() -> None:
    async with spoiled(Spoils(kind="reset")) as spoiler:
        peer = await connected(spoiler)

        with pytest.raises(ConnectionResetError):
            await peer.ask()


async def test_nobody_listens_until_it_is_over() -> None:
    async with spoiled(Spoils(kind="refuse")) as spoiler:
        with pytest.raises(ConnectionRefusedError):
            await connected(spoiler)
        spoiler.spoil(None)
        peer = await connected(spoiler)
        reply = await peer.ask()

    assert reply == REPLY


@pytest.mark.parametrize("kind", ["half_open", "black_hole"])
async def test_who_vanished_says_nothing_and_resets_what_was_sent_when_it_is_back(
    kind: Kind,
) -> None:
    async with spoiled() as spoiler:
        used, idle = await connected(spoiler), await connected(spoiler)
        for peer in (used, idle):
            await peer.ask()
        spoiler.spoil(Spoils(kind=kind))
        with pytest.raises(TimeoutError):
            await used.ask(within_s=0.1)
        spoiler.spoil(None)
        with pytest.raises(ConnectionResetError):
            await used.read()
        reply = await idle.ask()

    assert reply == REPLY


async def test_a_vanished_peer_still_accepts_where_only_half_of_it_is_gone() -> None:
    async with spoiled(Spoils(kind="half_open")) as spoiler:
        peer = await connected(spoiler)

        with pytest.raises(TimeoutError):
            await peer.ask(within_s=0.1)


async def test_a_black_hole_answers_to_nobody_who_connects() -> None:
    async with spoiled(Spoils(kind="black_hole")) as spoiler:
        with pytest.raises(TimeoutError):
            await connected(spoiler, within_s=0.3)
        spoiler.spoil(None)
        reply = await (await connected(spoiler)).ask()

    assert reply == REPLY


async def test_a_reply_drips() -> None:
    async with spoiled(Spoils(kind="drip", piece_bytes=4, seconds=0.05)) as spoiler:
        peer = await connected(spoiler)
        pieces = [await peer.ask()]
        while sum(map(len, pieces)) < len(REPLY):
            pieces.append(await peer.read())

    assert pieces == [REPLY[:4], REPLY[4:8], REPLY[8:]]


async def test_a_reply_is_cut_with_an_orderly_close() -> None:
    async with spoiled(Spoils(kind="truncate", after_bytes=7)) as spoiler:
        peer = await connected(spoiler)
        first = await peer.ask()
        then = await peer.read()

    assert (first, then) == (REPLY[:7], b"")


async def test_an_engine_that_is_gone_is_a_connection_that_is_reset() -> None:
    async with spoiled() as spoiler:
        spoiler._engine = ("127.0.0.1", 1)
        peer = await connected(spoiler)

        with pytest.raises(ConnectionResetError):
            await peer.read()
