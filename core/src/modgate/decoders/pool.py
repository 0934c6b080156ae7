"""The decoder processes: a few for single jobs, others for streams of pieces.

They are started when they are first needed, kept warm, and replaced after 200 jobs or any kill.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from modgate.api.json import Json, JsonObject
from modgate.api.need import Work
from modgate.api.plan import Drawn
from modgate.decoders.process import DecoderLimits, Ended, Process
from modgate.decoders.protocol import UNDECODABLE
from modgate.errors import GatewayError, Overloaded, PluginFault, Refused
from modgate.spool import Scope, spool_full

log = logging.getLogger(__name__)

WAIT_S = 30.0
TURN = 4  # pieces
HELD = 8  # times as many streams as decode may have a process, and wait for our engines
NONE_FREE = "no decoder is free; try again"


@dataclass(slots=True)
class Counters:
    """For metrics."""

    jobs: int = 0
    kills: int = 0


class Decoders:
    """All decoder processes of a gateway."""

    def __init__(
        self, *, processes: int, streams: int, limits: DecoderLimits, directory: str
    ) -> None:
        self.counters = Counters()
        self.limits = limits
        self._directory = directory
        self._work = _Pool(processes, limits, self.counters)
        self.streams = _Pool(streams * HELD, limits, self.counters, warm=streams)
        self._turns = asyncio.Semaphore(streams)

    async def run(self, work: Work, scope: Scope, *, timeout_s: float) -> Json:
        """One job.

        Refused by the function, or `undecodable` when it died; Overloaded when none is free.
        """
        process = await self._work.take(min(timeout_s, WAIT_S))
        healthy = False
        try:
            async with asyncio.timeout(min(timeout_s, self.limits.wall_s)):
                await process.send(self.job(work.function, pieces=False), work.args)
                said = await process.receive(scope)
            healthy = True
            return self._answer(work.function, work.field, said)
        except (Ended, TimeoutError):
            raise self.dead(work.function, work.field) from None
        finally:
            await self._work.give(process, healthy=healthy)

    def job(self, function: Callable[..., object], *, pieces: bool) -> JsonObject:
        """The message that starts a job; PluginFault when the function cannot be named."""
        name = getattr(function, "__qualname__", "")
        if not name.isidentifier():
            raise PluginFault(f"a decoder function must be at the top of a module, not {name}")
        return {
            "function": f"{function.__module__}:{name}",
            "args": [],
            "spool": self._directory,
            "cpu_s": self.limits.cpu_s,
            "answer_bytes": self.limits.answer_bytes,
            "written_bytes": self.limits.written_bytes,
            "pieces": pieces,
        }

    def _answer(self, function: Callable[..., object], field: str | None, said: JsonObject) -> Json:
        self.counters.jobs += 1
        if "error" in said:
            raise self.refused(function, field, said["error"])
        return said["answer"]

    def refused(
        self, function: Callable[..., object], field: str | None, told: JsonObject
    ) -> GatewayError:
        """The client's error for what a function raised."""
        if "reason" in told:
            return Refused(told["field"] or field, str(told["code"]), str(told["reason"]))
        if told["kind"] == "NoRoom":
            return spool_full()
        if told["kind"] in ("ImportError", "BadAnswer"):
            text = f"{told['kind']} in the decoder function {_name(function)}: {told['said']}"
            return PluginFault(text)
        about = {"function": _name(function), "raised": told["kind"], "at": told["at"]}
        log.warning("undecodable", extra=about)
        return _undecodable(field)

    def dead(self, function: Callable[..., object], field: str | None) -> GatewayError:
        """The client's error for what killed its process."""
        log.warning("decoder killed", extra={"function": _name(function)})
        return _undecodable(field)

    def draw(
        self,
        drawn: Drawn,
        scope: Scope,
        *,
        ahead: int,
        begun: Callable[[], None] = lambda: None,
    ) -> Pieces:
        """The pieces of one stream, at most `ahead` of the last call that ended.

        `begun()` is called with the first of them: until then it waited for a process, and for it.
        """
        return Pieces(self, drawn, scope, ahead, begun)

    @asynccontextmanager
    async def turn(self, within_s: float | None) -> AsyncIterator[None]:
        """Leave for one stream to decode; Overloaded when it does not come in time."""
        try:
            async with asyncio.timeout(within_s):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded(NONE_FREE) from None
        try:
            yield
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Kill all."""
        await self._work.close()
        await self.streams.close()


class Pieces:
    """One stream of pieces; has a process of its own from the first `next` to its last piece.

    A turn draws a few pieces, and no further ahead than allowed.  So a stream that waits for
    engines keeps no processor from others, and a short file waits for turns of long files and not
    for their ends.
    """

    def __init__(
        self,
        decoders: Decoders,
        drawn: Drawn,
        scope: Scope,
        ahead: int,
        begun: Callable[[], None],
    ) -> None:
        self._decoders = decoders
        self._drawn = drawn
        self._scope = scope
        self._may = ahead
        self._ahead = ahead
        self._begun: Callable[[], None] | None = begun
        self._placed = False
        self._process: Process | None = None
        self._drawing: asyncio.Task[None] | None = None
        self._arrived: deque[Json] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._done = False
        self._over = False
        self._written = 0

    async def next(self) -> Json:
        """The next descriptor; StopAsyncIteration at the end, Refused as the function says."""
        if self._over:
            raise StopAsyncIteration
        if self._drawing is None:
            self._drawing = asyncio.get_running_loop().create_task(self._draw())
            self._drawing.add_done_callback(lambda _: self._news.set())
        while not self._arrived and not self._drawing.done():
            self._news.clear()
            await self._news.wait()
        if self._arrived:
            return self._arrived.popleft()
        self._over = True
        self._drawing.result()
        raise StopAsyncIteration

    async def _draw(self) -> None:
        """All of it, turn by turn; raises what `next` raises after the pieces before."""
        try:
            message = self._decoders.job(self._drawn.function, pieces=True)
            args = self._drawn.args
            await self._decoders.streams.place(WAIT_S)
            self._placed = True
            drawn = 0
            while not self._done:
                while self._may <= drawn:
                    self._room.clear()
                    await self._room.wait()
                credit = min(TURN, self._may - drawn)
                async with self._decoders.turn(WAIT_S if drawn == 0 else None):
                    if self._process is None:  # now, for a turn ago another stream had it
                        self._process = await self._decoders.streams.process()
                    await self._process.send({**message, "credit": credit}, args)
                    drawn += await self._received(self._process, credit)
                message, args = {}, ()
        except Ended:
            raise self._decoders.dead(self._drawn.function, self._drawn.field) from None
        await self._give()

    async def _received(self, process: Process, at_most: int) -> int:
        """What comes in one turn, so many pieces unless the stream is over; how many came."""
        drawn = self._drawn
        for came in range(at_most):
            before = self._scope.size
            said = await process.receive(self._scope)
            self._written += max(0, self._scope.size - before)
            if self._written > self._decoders.limits.written_bytes:
                raise Refused(
                    drawn.field, "undecodable", "the file decodes to more than is allowed"
                )
            if "piece" not in said:
                self._done = True
                if "error" in said:
                    await self._give()
                    raise self._decoders.refused(drawn.function, drawn.field, said["error"])
                return came
            if self._begun is not None:
                self._begun()
                self._begun = None
            self._arrived.append(said["piece"])
            self._news.set()
        return at_most

    def ended(self, calls: int) -> None:
        """So many calls have ended: as many more may be drawn."""
        self._may = self._ahead + calls
        self._room.set()

    async def close(self) -> None:
        """Give the process back; one that still decodes is killed."""
        drawing, self._drawing, self._over = self._drawing, None, True
        self._arrived.clear()
        if drawing is not None:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
        await self._give()

    async def _give(self) -> None:
        process, self._process = self._process, None
        placed, self._placed = self._placed, False
        if process is not None:
            await self._decoders.streams.give(process, healthy=self._done)
        elif placed:
            self._decoders.streams.leave()


class _Pool:
    """Processes of one purpose."""

    def __init__(
        self, size: int, limits: DecoderLimits, counters: Counters, *, warm: int | None = None
    ) -> None:
        self._warm_at_most = size if warm is None else warm
        self._limits = limits
        self._counters = counters
        self._idle: deque[Process] = deque()
        self._busy: set[Process] = set()
        self._free = asyncio.Semaphore(size)

    async def take(self, timeout_s: float) -> Process:
        """A process that is free; Overloaded when none becomes so in time."""
        await self.place(timeout_s)
        try:
            return await self.process()
        except BaseException:
            self.leave()
            raise

    async def place(self, timeout_s: float) -> None:
        """The right to a process; Overloaded when there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded(NONE_FREE) from None

    def leave(self) -> None:
        """A place is given back for which no process was needed."""
        self._free.release()

    async def process(self) -> Process:
        """That of a place: one that waits for work, else a new one."""
        process = await self._warm() or await Process.start(self._limits)
        self._busy.add(process)
        return process

    async def _warm(self) -> Process | None:
        """One that waits for work, if any is alive."""
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            await process.kill()
        return None

    async def give(self, process: Process, *, healthy: bool) -> None:
        """Give one back; what is not healthy, or has done its share, is replaced."""
        process.jobs += 1
        self._busy.discard(process)
        try:
            fit = healthy and process.alive and process.jobs < self._limits.jobs
            if fit and len(self._idle) < self._warm_at_most:
                self._idle.append(process)
            else:
                self._counters.kills += 0 if healthy else 1
                await asyncio.shield(process.kill())
        finally:
            self._free.release()

    async def close(self) -> None:
        """Kill all."""
        for process in [*self._idle, *self._busy]:
            await process.kill()
        self._idle.clear()


def _name(function: Callable[..., object]) -> str:
    return f"{function.__module__}:{getattr(function, '__qualname__', '?')}"


def _undecodable(field: str | None) -> GatewayError:
    return Refused(field, *UNDECODABLE)
