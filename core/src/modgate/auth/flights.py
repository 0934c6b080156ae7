"""One question at a time about one thing: whoever wants the same answer waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from modgate import tasks
from modgate.errors import Overloaded

WAITING_AT_MOST = 1000

Answer = TypeVar("Answer")


class Flights(Generic[Answer]):
    """Questions under way, by what they are about; bounded, and ended with `close`."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Answer]] = {}
        self._waiting = 0

    def under_way(self, about: Hashable) -> bool:
        """Whether somebody asks now."""
        return about in self._tasks

    def start(self, about: Hashable, ask: Callable[[], Awaitable[Answer]]) -> asyncio.Task[Answer]:
        """Ask, unless somebody does, and do not wait."""
        task = self._tasks.get(about)
        if task is None:
            task = asyncio.get_running_loop().create_task(_awaited(ask))
            self._tasks[about] = task
            task.add_done_callback(lambda done: self._ended(about, done))
        return task

    async def once(self, about: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to a question that is asked at most once at a time; it keeps a deadline.

        A request that goes away leaves the question to the others.  Overloaded if too many wait.
        """
        if self._waiting >= WAITING_AT_MOST:
            raise Overloaded("too many requests wait to be known")
        task = self.start(about, ask)
        self._waiting += 1
        try:
            await asyncio.wait([task])
        finally:
            self._waiting -= 1
        return task.result()

    def _ended(self, about: Hashable, task: asyncio.Task[Answer]) -> None:
        self._tasks.pop(about, None)
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may

    async def close(self) -> None:
        """End all of them."""
        await tasks.end(self._tasks.values())


async def _awaited(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    return await ask()
