"""The events of one call that wait for their turn: in memory up to a bound, then in the spool."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from modgate.api.body import File
from modgate.api.relay import Event
from modgate.errors import GatewayError
from modgate.spool import Scope, Writer

MEMORY_AT_MOST = 1 << 20
Spilled = tuple[int, int, str, Mapping[str, str]]


class Lane:
    """One call's lane: its task calls `put`, the run calls `take`."""

    __slots__ = (
        "_file",
        "_held",
        "_scope",
        "_spilled",
        "_taken",
        "_waiting",
        "_written",
        "ended",
        "error",
    )

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._held: deque[Event | Spilled] = deque()
        self._written = 0
        self._file: Writer | None = None
        self._spilled = False
        self._waiting = asyncio.Event()
        self._taken = asyncio.Event()
        self.ended = False
        self.error: GatewayError | None = None

    @property
    def full(self) -> bool:
        """Whether its memory is used up: then the head's call pauses, the others spill."""
        return self._written >= MEMORY_AT_MOST or self._spilled

    async def room(self) -> None:
        """Wait until the run takes something; has no end of its own but its task's."""
        self._taken.clear()
        await self._taken.wait()

    def put(self, event: Event) -> None:
        """Add an event; over the bound it goes to the spool (Overloaded when that is full)."""
        if self._written + len(event.data) > MEMORY_AT_MOST or self._spilled:
            self._spill(event)
        else:
            self._held.append(event)
            self._written += len(event.data)
        self._waiting.set()

    def _spill(self, event: Event) -> None:
        if self._file is None:
            self._file = self._scope.writer()
        self._spilled, start = True, self._file.size
        self._file.write(event.data)
        self._held.append((start, len(event.data), event.name, event.headers))

    def close(self, error: GatewayError | None = None) -> None:
        """No more events."""
        self.ended = True
        self.error = error
        self._waiting.set()

    def empty(self) -> None:
        """Drop what an attempt sent, because the call is tried again."""
        self._held.clear()
        self._written = 0
        self._spilled = False

    async def take(self) -> list[Event]:
        """The next events, at least one; [] when the lane ended well, else its error is raised."""
        while not self._held:
            if self.error is not None:
                raise self.error
            if self.ended:
                return []
            self._waiting.clear()
            await self._waiting.wait()
        self._taken.set()
        file = self._file.done() if self._file is not None else None
        item = self._held.popleft()
        if isinstance(item, Event):
            self._written -= len(item.data)
            return [item]
        if not self._held:
            self._spilled = False
        return [_read(file, item)]

    def free(self) -> None:
        """The call was relayed: delete its spool file."""
        if self._file is not None:
            self._scope.drop(self._file.done())
            self._file = None


def _read(file: File | None, item: Spilled) -> Event:
    assert file is not None
    start, length, name, headers = item
    return Event(file.read(start, length), name, headers)
