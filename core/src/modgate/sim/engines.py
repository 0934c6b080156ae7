"""Engines that take as long as receipts show that such engines do, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modgate.sim.sharing import Sharing
from modgate.sim.speeds import Speed


@dataclass(slots=True, kw_only=True)
class Job:
    """A call as an engine sees it: see `Sample`; `luck`: of its reading and of the rest."""

    read: float
    written: float
    work: float
    streams: bool
    luck: tuple[float, float] = (1.0, 1.0)


class Engine:
    """One engine, by modality.

    `busy_s`: the sum of the seconds that calls were there.
    """

    def __init__(self, speeds: Mapping[str, Speed], loop: asyncio.AbstractEventLoop) -> None:
        self.speeds = speeds
        self.busy_s = 0.0
        self.calls = 0
        self._loop = loop
        self._reading = asyncio.Lock()
        self._working = {name: _Working(speed.crowd, loop) for name, speed in speeds.items()}

    async def serve(self, modality: str, job: Job, first: Callable[[], None]) -> None:
        """From its coming to its end; `first` is called when its first event goes out."""
        began = self._loop.time()
        self.calls += 1
        try:
            await self._served(self.speeds[modality], self._working[modality], job, first)
        finally:
            self.busy_s += self._loop.time() - began

    async def _served(
        self, speed: Speed, working: _Working, job: Job, first: Callable[[], None]
    ) -> None:
        read_luck, luck = job.luck
        if speed.reads is not None and speed.writes is not None:
            async with self._reading:
                await asyncio.sleep(speed.reads.seconds(job.read) * read_luck)
            first()
            await working.through(speed.writes.seconds(job.written) * luck)
            return
        assert speed.whole is not None, "it has one or the other"
        alone_s = speed.whole.seconds(job.work) * luck
        if job.streams:
            await working.through(alone_s * speed.first)
            first()
            alone_s *= 1 - speed.first
        await working.through(alone_s)


class _Working:
    """Calls that an engine works on side by side; a unit is a second of a call that is alone."""

    def __init__(self, crowd: float, loop: asyncio.AbstractEventLoop) -> None:
        self._crowd = crowd
        self._loop = loop
        self._calls: Sharing[asyncio.Future[None]] = Sharing()
        self._number = 0
        self._due: asyncio.TimerHandle | None = None

    @property
    def _each_s(self) -> float:
        return 1 + self._crowd * max(0, len(self._calls) - 1)

    async def through(self, alone_s: float) -> None:
        """Until so many seconds of work are done."""
        self._calls.advance(self._loop.time(), self._each_s)
        self._number += 1
        done: asyncio.Future[None] = self._loop.create_future()
        self._calls.add(alone_s, self._number, done)
        self._next()
        await done

    def _next(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = None
        if len(self._calls):
            self._due = self._loop.call_later(self._calls.left_s(self._each_s), self._done)

    def _done(self) -> None:
        self._calls.advance(self._loop.time(), self._each_s)
        for done in self._calls.done():
            if not done.done():
                done.set_result(None)
        self._next()
