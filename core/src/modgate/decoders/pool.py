"""The decoder processes: a few for single jobs, others for streams of pieces.

They are started when they are first needed, kept warm, and replaced after 200 jobs or any kill.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from modgate.api.json import Json, JsonObject
from modgate.api.need import Work
from modgate.api.plan import Drawn
from modgate.decoders.process import DecoderLimits, Ended, Process
from modgate.errors import GatewayError, Overloaded, PluginFault, Refused
from modgate.spool import Scope

log = logging.getLogger(__name__)

WAIT_S = 30.0


@dataclass(slots=True)
class Counters:
    """For metrics."""

    jobs: int = 0
    kills: int = 0
    refused: int = 0


class Decoders:
    """All decoder processes of a gateway."""

    def __init__(
        self, *, processes: int, streams: int, limits: DecoderLimits, directory: str
    ) -> None:
        self.counters = Counters()
        self.limits = limits
        self._directory = directory
        self._work = _Pool(processes, limits, self.counters)
        self._streams = _Pool(streams, limits, self.counters)

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
        self.counters.refused += 1
        if "reason" in told:
            return Refused(told["field"] or field, str(told["code"]), str(told["reason"]))
        if told["kind"] in ("ImportError", "BadAnswer"):
            return PluginFault(f"{told['kind']} in the decoder function {_name(function)}")
        log.warning("undecodable", extra={"function": _name(function), "raised": told["kind"]})
        return _undecodable(field)

    def dead(self, function: Callable[..., object], field: str | None) -> GatewayError:
        """The client's error for a file that killed its process."""
        log.warning("decoder killed", extra={"function": _name(function)})
        return _undecodable(field)

    def draw(self, drawn: Drawn, scope: Scope, *, ahead: int) -> Pieces:
        """The pieces of one stream, at most `ahead` of the last call that ended."""
        return Pieces(self, self._streams, drawn, scope, ahead)

    async def close(self) -> None:
        """Kill all."""
        await self._work.close()
        await self._streams.close()


class Pieces:
    """One stream of pieces; has a process of its own from the first `next` to its last piece.

    One message is read ahead, so that the process is given back as soon as it has said that it is
    done: who waits for one need not wait for our engines.
    """

    def __init__(
        self, decoders: Decoders, pool: _Pool, drawn: Drawn, scope: Scope, ahead: int
    ) -> None:
        self._decoders = decoders
        self._pool = pool
        self._drawn = drawn
        self._scope = scope
        self._ahead = ahead
        self._process: Process | None = None
        self._coming: asyncio.Task[JsonObject] | None = None
        self._ended = 0
        self._credited = 0
        self._done = False
        self._over = False
        self._written = 0

    async def next(self) -> Json:
        """The next descriptor; StopAsyncIteration at the end, Refused as the function says."""
        if self._over:
            raise StopAsyncIteration
        try:
            if self._coming is None:
                await self._start()
            elif self._ended > self._credited and self._process is not None:
                more, self._credited = self._ended - self._credited, self._ended
                await self._process.send({"credit": more})
            assert self._coming is not None
            said = await self._coming
        except Ended:
            raise self._decoders.dead(self._drawn.function, "file") from None
        if self._written > self._decoders.limits.written_bytes:
            raise Refused("file", "undecodable", "the file decodes to more than is allowed")
        if "piece" in said:
            self._come()
            return said["piece"]
        self._over = True
        if "error" in said:
            raise self._decoders.refused(self._drawn.function, "file", said["error"])
        raise StopAsyncIteration

    async def _start(self) -> None:
        self._process = await self._pool.take(WAIT_S)
        job = self._decoders.job(self._drawn.function, pieces=True)
        await self._process.send({**job, "credit": self._ahead}, self._drawn.args)
        self._come()

    def _come(self) -> None:
        assert self._coming is None or self._coming.done()
        self._coming = asyncio.get_running_loop().create_task(self._receive())

    async def _receive(self) -> JsonObject:
        """The next message; with the last one the process is free."""
        assert self._process is not None
        before = self._scope.size
        said = await self._process.receive(self._scope)
        self._written += max(0, self._scope.size - before)
        if "piece" not in said:
            self._done = True
            await self._give()
        return said

    def ended(self, calls: int) -> None:
        """So many calls have ended: credit goes out with the next `next`."""
        self._ended = calls

    async def close(self) -> None:
        """Give the process back; one that still decodes is killed."""
        coming, self._coming, self._over = self._coming, None, True
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await self._give()

    async def _give(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await self._pool.give(process, healthy=self._done)


class _Pool:
    """Processes of one purpose."""

    def __init__(self, size: int, limits: DecoderLimits, counters: Counters) -> None:
        self._size = size
        self._limits = limits
        self._counters = counters
        self._idle: deque[Process] = deque()
        self._busy: set[Process] = set()
        self._free = asyncio.Semaphore(size)

    async def take(self, timeout_s: float) -> Process:
        """A process that is free; Overloaded when none becomes so in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded("no decoder is free; try again") from None
        try:
            process = await self._warm() or await Process.start(self._limits)
        except BaseException:
            self._free.release()
            raise
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
            if healthy and process.alive and process.jobs < self._limits.jobs:
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
    return Refused(field, "undecodable", "the file could not be decoded")
