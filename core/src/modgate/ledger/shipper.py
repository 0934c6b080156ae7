"""Bringing the ledger to one sink, behind the requests' back.

A thread of its own with an event loop of its own: a sink that blocks, sleeps or is down costs the
gateway nothing but the lag, which is on disk and not in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from modgate import tasks
from modgate.api.secret import Secret
from modgate.api.shipment import Cursor, LedgerSink, Shipment, SinkDown, UsageRow
from modgate.clock import Clock
from modgate.faults import RAISED, raised
from modgate.ledger.backoff import Backoff
from modgate.ledger.disk import NOWHERE, Position
from modgate.ledger.frames import Tampered
from modgate.ledger.rows import rows_of
from modgate.ledger.tail import Piece, Tail
from modgate.ledger.writer import Ledger

log = logging.getLogger(__name__)

T = TypeVar("T")

EVERY_S = 1.0
BATCH_BYTES = 1 << 20
BITE = 64  # rows that are made before the event loop, which all requests share, may go on
PAUSE_S = 0.0002
DEADLINE_S = 30.0
CLOSE_S = 3.0
NICE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What a sink does not have yet; `seconds` since it had everything."""

    frames: int
    size_bytes: int
    seconds: float


class Shipper:
    """One sink.  `make` gives a new one after each failure; `up`: it took what it was given last.

    `error`: why not, without a secret.  `region`: where it stands; `withheld`: rows that may not be
    there.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], LedgerSink],
        ledger: Ledger,
        key: Secret,
        clock: Clock,
        *,
        region: str | None = None,
        plugin: str = "",
        every_s: float = EVERY_S,
        batch_bytes: int = BATCH_BYTES,
        deadline_s: float = DEADLINE_S,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.up = False
        self.error = ""
        self.region = region
        self._plugin = plugin
        self.rows = self.withheld = 0
        self._make = make
        self._ledger = ledger
        self._key = key
        self._clock = clock
        self._every_s = every_s
        self._batch_bytes = batch_bytes
        self._deadline_s = deadline_s
        self._backoff = Backoff(rng or random.SystemRandom())
        self._position = NOWHERE
        self._until = 0.0
        self._whole_at = clock.now()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name=f"ship-{name}", daemon=True)
        ledger.acknowledge(name, 0)

    def start(self) -> None:
        """Begin to ship."""
        self._thread.start()

    @property
    def lag(self) -> Lag:
        """What the sink does not have yet."""
        frames, size = self._ledger.size_since(self._position)
        seconds = self._clock.now() - self._whole_at if frames > 0 else 0.0
        return Lag(frames=frames, size_bytes=size, seconds=seconds)

    def stop(self) -> None:
        """Tell it to come to an end; `close` waits for that."""
        with suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._stopping.set)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Ship what is left, if the sink takes it in time; the rest is shipped by the next start.

        The ledger is closed by then.
        """
        self.stop()
        self._thread.join(within_s)
        if self._thread.is_alive():
            log.warning("a sink does not let go", extra={"sink": self.name})

    def _main(self) -> None:
        if sys.platform == "linux":  # the event loop, which all requests share, goes first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            tasks.stay(self._loop, self._run())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        while True:  # once at least, however soon it is told to stop
            sink: LedgerSink | None = None
            try:
                sink = self._made()
                await self._ship(sink, self._tail(await self._asked(sink.open)))
            except raised() as error:  # whatever it is, the rows are kept, and this goes on
                self._down(error)
                await self._rest(self._backoff.failed())
            finally:
                await self._let_go(sink)
            if self._stopping.is_set():
                return

    async def _let_go(self, sink: LedgerSink | None) -> None:
        if sink is None:
            return
        try:
            await self._asked(sink.close)
        except SinkDown as error:
            log.info("a sink closed badly", extra=self._words(str(error)))

    def _made(self) -> LedgerSink:
        try:
            return self._make()
        except RAISED as error:
            raise SinkDown(type(error).__name__) from error

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a sink answers within the deadline; SinkDown for whatever it raises."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await ask()
        except SinkDown:
            raise
        except TimeoutError as error:
            raise SinkDown("no answer in time") from error
        except RAISED as error:  # nobody else ends what runs here
            raise SinkDown(type(error).__name__) from error

    def _tail(self, cursors: Sequence[Cursor]) -> Tail:
        """Where to go on: behind what the sink has, where that is what this directory has."""
        ledger = self._ledger
        mine = next((each for each in cursors if each.writer == ledger.writer), None)
        for each in cursors if mine is None else [mine]:
            if not ledger.witnessed(each, self.name):
                mine = None
        position = NOWHERE
        if mine is not None:
            position = Position(mine.segment, mine.offset, mine.frames, mine.last)
        self._position = position
        self._until = mine.at if mine is not None else 0.0
        self._ledger.acknowledge(self.name, position.segment)
        return Tail(ledger.directory, ledger.worker, self._key, position)

    async def _ship(self, sink: LedgerSink, tail: Tail) -> None:
        """Until told to stop, and then until nothing is left."""
        while True:
            stopping = self._stopping.is_set()
            await self._asked(sink.look)
            piece = self._next(tail)
            if piece is not None:
                await self._give(sink, tail, piece)
            elif stopping:
                return
            else:
                self._took_all()
            if piece is None or piece.behind == self._ledger.synced:
                await self._rest(self._every_s)

    def _next(self, tail: Tail) -> Piece | None:
        """What is on disk and not in the sink, from memory where that still has it."""
        until = self._ledger.synced
        fresh = self._ledger.fresh.after(tail.position, self._batch_bytes)
        return fresh if fresh is not None else tail.read(until, self._batch_bytes)

    async def _give(self, sink: LedgerSink, tail: Tail, piece: Piece) -> None:
        writer, behind = self._ledger.writer, piece.behind
        rows = self._rows(piece, writer)
        until = self._read_until(piece, rows)
        cursor = Cursor(
            writer=writer,
            segment=behind.segment,
            offset=behind.offset,
            frames=behind.frames,
            last=behind.last,
            at=until,
        )
        await self._asked(partial(sink.write, Shipment(rows=rows, cursor=cursor)))
        tail.done(piece)
        self._position, self._until = behind, until
        self._ledger.acknowledge(self.name, behind.segment)
        self.rows += len(rows)
        self.withheld += len(piece.entries) - len(rows)
        self._works()
        if behind == self._ledger.synced:
            self._took_all()

    def _rows(self, piece: Piece, writer: str) -> list[UsageRow]:
        rows: list[UsageRow] = []
        for at in range(0, len(piece.entries), BITE):
            if at:
                time.sleep(PAUSE_S)
            rows += rows_of(piece.entries[at : at + BITE], writer, self.region)
        return rows

    def _read_until(self, piece: Piece, rows: Sequence[UsageRow]) -> float:
        """The time of a cursor: now when it is behind all, else that of its last row."""
        wall = self._clock.wall()
        if piece.behind == self._ledger.synced:
            return wall
        return min(rows[-1].ended, wall) if rows else self._until

    def _took_all(self) -> None:
        self._whole_at = self._clock.now()
        self._works()

    def _works(self) -> None:
        self._backoff.succeeded()
        if not self.up:
            self.up, self.error = True, ""
            log.info("a sink takes rows", extra={"sink": self.name})

    def _down(self, error: BaseException) -> None:
        reason = _reason(error)
        if self.up or reason != self.error:
            log.error("a sink takes no rows", extra=self._words(reason))
        self.up, self.error = False, reason

    def _words(self, reason: str) -> dict[str, str]:
        words = {"sink": self.name, "reason": reason}
        return {**words, "plugin": self._plugin} if self._plugin else words

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def _reason(error: BaseException) -> str:
    """What may be shown: a sink's own words, else only what sort of error it was."""
    if isinstance(error, SinkDown):
        return str(error)
    if isinstance(error, Tampered):
        return f"the ledger was changed by somebody else: {error}"
    if isinstance(error, OSError) and error.errno:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{type(error).__name__}: {where}{os.strerror(error.errno).lower()}"
    return type(error).__name__
