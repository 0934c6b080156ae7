"""The calls of a plan wider than 1: a task carries each, and fills a lane with its events.

The lanes are emptied in call order, so the relay sees one call after the other, whichever engine
was first.  The head is the call whose lane is emptied now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from modgate.api.plan import Plan
from modgate.drawing import AHEAD
from modgate.errors import GatewayError, PluginFault
from modgate.feeding import Feeding, Sink
from modgate.lane import Lane
from modgate.spool import Scope
from modgate.trip import Trip


class SideBySide:
    """Runs the calls of one plan.  Whoever lets it `go` stops it with `cancel` and `ended`.

    `next_trip`: draws a call; None when there is none.  `call_ended`: told of each by its index.
    `spared`: errors of one call that the plan does without.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        next_trip: Callable[[], Awaitable[Trip | None]],
        call_ended: Callable[[int], None],
        spared: tuple[type[GatewayError], ...],
        feeding: Feeding,
        sink: Sink,
        scope: Scope,
    ) -> None:
        self._width = plan.width
        self._ahead = plan.ahead or AHEAD * plan.width
        self._next_trip = next_trip
        self._call_ended = call_ended
        self._spared = spared
        self._feeding = feeding
        self._sink = sink
        self._scope = scope
        self._drawer: asyncio.Task[None] | None = None
        self._carriers: dict[int, asyncio.Task[None]] = {}
        self._lanes: dict[int, tuple[Trip, Lane]] = {}  # from the head on
        self._head = 0
        self._changed = asyncio.Event()  # the drawer, the carriers, or the head did

    async def go(self) -> None:
        """Relay all calls; raises what the first one that may not fail was ended by."""
        self._drawer = drawer = asyncio.get_running_loop().create_task(self._draw())
        drawer.add_done_callback(self._drawer_done)
        while True:
            while self._head not in self._lanes:
                if drawer.done():
                    return drawer.result()
                await self._change()
            trip, lane = self._lanes[self._head]
            try:
                while events := await lane.take():
                    await self._feeding.feed(trip, events)
            except self._spared:
                pass
            lane.free()
            del self._lanes[self._head]
            self._head += 1
            self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _draw(self) -> None:
        """Start calls, `width` at once and so many `ahead` of the head; ends when all are drawn."""
        while True:
            while len(self._carriers) >= self._width or len(self._lanes) >= self._ahead:
                await self._change()
            trip = await self._next_trip()
            if trip is None:
                return
            self._start(trip)
            self._changed.set()

    def _drawer_done(self, drawer: asyncio.Task[None]) -> None:
        """No more calls.  An error of drawing ends the head at once, if nothing was sent yet."""
        self._changed.set()
        if drawer.cancelled():
            return
        error = drawer.exception()
        if isinstance(error, GatewayError) and self._head in self._lanes and not self._sink.opened:
            _, lane = self._lanes[self._head]
            lane.close(error)

    def _start(self, trip: Trip) -> None:
        index, lane = trip.order.index, Lane(self._scope)
        trip.restarted = lane.empty
        self._lanes[index] = trip, lane
        carrier = asyncio.get_running_loop().create_task(self._carry(index, trip, lane))
        self._carriers[index] = carrier

    async def _carry(self, index: int, trip: Trip, lane: Lane) -> None:
        """Fill one lane.  While it is full the head's call waits; others spill to disk."""
        error: GatewayError | None = PluginFault("a call was given up before its end")
        try:
            while events := await trip.next():
                for event in events:
                    lane.put(event)
                while index == self._head and lane.full:
                    await lane.room()
            error = None
        except GatewayError as raised:
            error = raised
        finally:
            del self._carriers[index]
            self._call_ended(index)
            lane.close(error)
            self._changed.set()

    def cancel(self) -> None:
        """Stop what is under way."""
        for task in self._tasks():
            task.cancel()

    async def ended(self) -> list[GatewayError]:
        """Wait until every task has ended, delete what the lanes hold, and return their errors."""
        if tasks := self._tasks():
            await asyncio.wait(tasks)
        self._carriers.clear()  # breaks a circle: a task keeps its error, whose frames keep this
        self._drawer = None
        lanes = [lane for _, lane in self._lanes.values()]
        for lane in lanes:
            lane.free()
        return [lane.error for lane in lanes if lane.error is not None]

    def _tasks(self) -> list[asyncio.Task[None]]:
        drawer = [] if self._drawer is None else [self._drawer]
        return [*drawer, *self._carriers.values()]
