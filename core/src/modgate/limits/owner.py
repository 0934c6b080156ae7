"""Levels that one process of a host owns, and that the others reach over a unix socket.

A message is a u32 length, little endian, and so many bytes of msgpack.  A request is
`[number, operation, arguments]`; the reply to it, `[number, answer]`, may come in any order.  The
socket lies in a directory that only this user may enter.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec

from modgate import tasks
from modgate.api.json import Json
from modgate.clock import Clock
from modgate.limits.levels import Denied, Limit, Wanted
from modgate.limits.store import MemoryStore, Reserved, StoreDown

MESSAGE_AT_MOST = 1 << 20
_LENGTH = struct.Struct("<I")
_BROKEN = (OSError, EOFError, asyncio.IncompleteReadError, msgspec.DecodeError, ValueError)


def _packed(message: Json) -> bytes:
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


async def _read(reader: asyncio.StreamReader) -> Json:
    [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MESSAGE_AT_MOST:
        raise ValueError("a message of the levels' owner is too long")
    return msgspec.msgpack.decode(await reader.readexactly(length))


class Owner:
    """Serves the levels of its `store` to the other processes."""

    def __init__(self, clock: Clock) -> None:
        self.store = MemoryStore(clock)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self, path: Path) -> None:
        """Listen on a socket at `path`; one that a dead owner left there is replaced."""
        self._server = await asyncio.start_unix_server(self._serve, path)
        os.chmod(path, 0o600)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                number, operation, arguments = await _read(reader)
                writer.write(_packed([number, await self._answer(operation, arguments)]))
                await writer.drain()
        except _BROKEN:
            pass  # the other side left
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, operation: str, arguments: Json) -> Json:
        match operation, arguments:
            case "reserve", [rid, wanted, ttl_ms, now_ms]:
                made = await self.store.reserve(rid, _wanted(wanted), ttl_ms, now_ms)
                denied = made.denied
                return [denied and [denied.wait_ms, denied.index], list(made.levels)]
            case "trim", [rid, kept, now_ms]:
                return await self.store.trim(rid, kept, now_ms)
            case "touch", [rid, measured, ttl_ms, now_ms]:
                return await self.store.touch(rid, measured, ttl_ms, now_ms)
            case "settle", [rid, actual, now_ms]:
                return await self.store.settle(rid, actual, now_ms)
            case "owe", [rid, owed, now_ms]:
                return await self.store.owe(rid, _wanted(owed), now_ms)
            case "join", [name, ttl_ms, now_ms]:
                return await self.store.join(name, ttl_ms, now_ms)
            case "reap", [tag, at_most, now_ms]:
                return await self.store.reap(tag, at_most, now_ms)
            case _:
                raise ValueError(f"no operation of the levels' owner: {operation}")

    async def close(self) -> None:
        """Stop listening, and close the connections of the others."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()


def _rows(wanted: Wanted) -> list[Json]:
    return [
        (limit.key, limit.kind, limit.amount, limit.period_ms, limit.burst, count)
        for limit, count in wanted
    ]


def _wanted(rows: Sequence[Sequence[Json]]) -> list[tuple[Limit, int]]:
    return [
        (Limit(key=key, kind=kind, amount=amount, period_ms=period_ms, burst=burst), count)
        for key, kind, amount, period_ms, burst, count in rows
    ]


class OwnerStore:
    """The store that an owner serves at `path`.

    It connects when it is first used, and again after a failure.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._number = 0
        self._connecting = asyncio.Lock()

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None:
                reader, self._writer = await self._reach()
                self._reading = asyncio.get_running_loop().create_task(self._read(reader))
            return self._writer

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self._path)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, answer = await _read(reader)
                waiting = self._waiting.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except _BROKEN:
            pass
        finally:
            self._drop()

    def _drop(self) -> None:
        """The connection is gone, and whoever waits for an answer gets StoreDown."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(StoreDown("the owner of the levels left"))

    async def _ask(self, operation: str, *arguments: Json) -> Json:
        try:
            writer = await self._connected()
            self._number += 1
            number = self._number
            answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
            self._waiting[number] = answer
            try:
                writer.write(_packed([number, operation, arguments]))
                return await answer
            finally:
                del self._waiting[number]
        except OSError as error:
            raise StoreDown(type(error).__name__) from None

    async def reserve(self, rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        """See `Store`."""
        denied, levels = await self._ask("reserve", rid, _rows(wanted), ttl_ms, now_ms)
        return Reserved(Denied(*denied) if denied is not None else None, tuple(levels))

    async def trim(self, rid: str, kept: Sequence[int], now_ms: int = 0) -> bool:
        """See `Store`."""
        return bool(await self._ask("trim", rid, list(kept), now_ms))

    async def touch(self, rid: str, measured: Sequence[int], ttl_ms: int, now_ms: int = 0) -> bool:
        """See `Store`."""
        return bool(await self._ask("touch", rid, list(measured), ttl_ms, now_ms))

    async def settle(self, rid: str, actual: Sequence[int], now_ms: int = 0) -> bool:
        """See `Store`."""
        return bool(await self._ask("settle", rid, list(actual), now_ms))

    async def owe(self, rid: str, owed: Wanted, now_ms: int = 0) -> bool:
        """See `Store`."""
        return bool(await self._ask("owe", rid, _rows(owed), now_ms))

    async def join(self, name: str, ttl_ms: int, now_ms: int = 0) -> int:
        """See `Store`."""
        alive: int = await self._ask("join", name, ttl_ms, now_ms)
        return alive

    async def reap(self, tag: str, at_most: int = 100, now_ms: int = 0) -> int:
        """See `Store`."""
        reaped: int = await self._ask("reap", tag, at_most, now_ms)
        return reaped

    async def close(self) -> None:
        """Close the connection."""
        if self._reading is not None:
            await tasks.end([self._reading])
        self._drop()
