"""A TCP proxy before one engine that spoils what goes through it, in a way that is switched as it
runs.

It knows nothing of HTTP, but that a request begins with its method and names its id: so what is
asked of an engine is counted where it is asked, whether or not the engine ever hears of it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

Kind = Literal["latency", "stall", "reset", "half_open", "drip", "truncate", "black_hole", "refuse"]
READ_BYTES = 1 << 16
PIECES_AHEAD = 64
BACKLOG = 128
_ID = re.compile(rb"(?i)\r\nx-request-id: *([!-~]+)\r\n")
RST = struct.pack("ii", 1, 0)
VANISHED: frozenset[Kind] = frozenset({"half_open", "black_hole"})
BROKEN: frozenset[Kind] = frozenset({"reset", "refuse"})
Give = Callable[[bytes, float], Awaitable[bool]]  # bytes and when they came; False = it is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoils:
    """What goes wrong between a gateway and an engine.

    `kind`:
        latency     a reply's bytes come `seconds` late, in order
        stall       nothing moves in either direction; when it is over, all of it does
        reset       connections that are open are reset, new ones once something is sent on them
        half_open   the peer vanished: what is sent is swallowed, new connections are accepted
        drip        a reply comes `piece_bytes` at a time, `seconds` apart
        truncate    a reply is cut, with an orderly close, after `after_bytes`
        black_hole  as half_open, and nobody answers to who connects
        refuse      connections that are open are reset, nobody listens
    """

    kind: Kind
    seconds: float = 0.5
    piece_bytes: int = 1
    after_bytes: int = 0


class Spoiler:
    """An async context manager that listens before the engine at `host` and `port`.

    `asked`: requests that were sent to it so far, by `x-request-id`.
    """

    def __init__(self, host: str, port: int) -> None:
        self.asked: Counter[str] = Counter()
        self.spoils: Spoils | None = None
        self._engine = (host, port)
        self._port = 0
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._fillers: list[socket.socket] = []
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Spoiler:
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._hang_up()
        for line in list(self._lines):
            line.reset()
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """What a `[[backend]]` names."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._lines)

    def spoil(self, spoils: Spoils | None) -> None:
        """From now on this goes wrong, on open connections too; None = nothing does.

        A connection on which something was swallowed is never whole again: it is reset then.
        """
        before, self.spoils = self.spoils, spoils
        was = before.kind if before else None
        now = spoils.kind if spoils else None
        if now in BROKEN:
            for line in list(self._lines):
                line.reset()
        elif now not in VANISHED:
            for line in [line for line in self._lines if line.swallowed]:
                line.reset()
        if now != was:
            self._door(was, now)
        self._changed.set()
        self._changed = asyncio.Event()

    def _door(self, was: Kind | None, now: Kind | None) -> None:
        if now == "refuse":
            self._hang_up()
        elif was == "refuse":
            self._listen()
        if now == "black_hole":
            self._bar()
        elif was == "black_hole":
            self._unbar()

    # --- who connects

    def _listen(self) -> None:
        self._socket = listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind(("127.0.0.1", self._port))
        listening.listen(BACKLOG)
        self._port = listening.getsockname()[1]
        self._accepting = self._spawn(self._accept(listening))

    def _hang_up(self) -> None:
        self._forget_fillers()
        if self._accepting is not None:
            self._accepting.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _bar(self) -> None:
        """The kernel answers to nobody whose connection would not fit in the queue: fill it."""
        if self._socket is None or self._accepting is None:
            return
        self._accepting.cancel()
        self._socket.listen(0)
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self._port))
            self._fillers.append(filler)

    def _unbar(self) -> None:
        self._forget_fillers()
        if self._socket is not None:
            self._socket.listen(BACKLOG)
            self._accepting = self._spawn(self._accept(self._socket))

    def _forget_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            made, _ = await loop.sock_accept(listening)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = _Line(self, made)
            self._lines.add(line)
            line.task = self._spawn(self._carry(line))

    async def _carry(self, line: _Line) -> None:
        try:
            await line.run(self._engine)
        finally:
            self._lines.discard(line)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- what its lines ask

    async def not_stalled(self) -> None:
        """Until things move."""
        while self.spoils is not None and self.spoils.kind == "stall":
            await self._changed.wait()


class _Line:
    """One connection from a gateway, and the one to the engine that it is carried on by."""

    def __init__(self, spoiler: Spoiler, accepted: socket.socket) -> None:
        self.swallowed = False
        self.task: asyncio.Task[None] | None = None
        self._spoiler = spoiler
        self._socket = accepted
        self._replied = 0

    def reset(self) -> None:
        """Break it as a machine does that knows nothing of it."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        if self.task is not None:
            self.task.cancel()

    async def run(self, engine: tuple[str, int]) -> None:
        """Both directions, until one side is through."""
        asks, back = await asyncio.open_connection(sock=self._socket)
        forth: asyncio.StreamWriter | None = None
        pumps: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        try:
            replies, forth = await asyncio.open_connection(*engine)
            pumps.append(loop.create_task(self._pump(asks, partial(self._ask, forth))))
            pumps.append(loop.create_task(self._pump(replies, partial(self._reply, back))))
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:  # the engine is gone
            self.reset()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            back.close()
            if forth is not None:
                forth.close()

    async def _pump(self, reader: asyncio.StreamReader, give: Give) -> None:
        """One direction: read as it comes, given on in order, when it is due."""
        pieces: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue(PIECES_AHEAD)
        filling = asyncio.get_running_loop().create_task(_fill(reader, pieces))
        try:
            while await give(*await pieces.get()):
                pass
        except OSError:
            return
        finally:
            filling.cancel()

    async def _ask(self, writer: asyncio.StreamWriter, data: bytes, at: float) -> bool:
        """Give a request on; False = that was all."""
        del at
        spoiler = self._spoiler
        if data.startswith(b"POST "):
            found = _ID.search(data)
            spoiler.asked[found[1].decode() if found else ""] += 1
            self._replied = 0
        await spoiler.not_stalled()
        kind = spoiler.spoils.kind if spoiler.spoils else None
        if kind == "reset" and data:
            self.reset()
        if kind in VANISHED:
            self.swallowed = True
            return bool(data)
        return await _write(writer, data)

    async def _reply(self, writer: asyncio.StreamWriter, data: bytes, at: float) -> bool:
        """Give a part of a reply on; False = that was all."""
        await self._spoiler.not_stalled()
        spoils = self._spoiler.spoils
        match spoils.kind if spoils else None:
            case "half_open" | "black_hole":
                self.swallowed = True
                await asyncio.Event().wait()  # not even its end gets through
            case "latency":
                assert spoils is not None
                await asyncio.sleep(at + spoils.seconds - asyncio.get_running_loop().time())
            case "drip":
                assert spoils is not None
                for begin in range(0, len(data), spoils.piece_bytes):
                    await _write(writer, data[begin : begin + spoils.piece_bytes])
                    await asyncio.sleep(spoils.seconds)
                return bool(data)
            case "truncate":
                assert spoils is not None
                data = data[: max(0, spoils.after_bytes - self._replied)]
                self._replied += len(data)
                await _write(writer, data)
                return bool(data) and self._replied < spoils.after_bytes
            case _:
                pass
        return await _write(writer, data)


async def _fill(reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[bytes, float]]) -> None:
    """What is read, and when; b"" is the end, whatever it was."""
    data = b"-"
    while data:
        try:
            data = await reader.read(READ_BYTES)
        except OSError:
            data = b""
        await pieces.put((data, asyncio.get_running_loop().time()))


async def _write(writer: asyncio.StreamWriter, data: bytes) -> bool:
    if data:
        writer.write(data)
        await writer.drain()
    return bool(data)
