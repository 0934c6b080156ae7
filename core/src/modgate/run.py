"""Running one plan: draw its calls, feed their events to the relay in call order, write its bytes.

A plan of width 1 runs in the request's own task.  A wider one has a task for each call, which fills
a lane; the run empties the lanes in call order, so the relay sees one call after the other,
whichever engine was first.  Every task has ended when `go` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain, islice
from time import perf_counter
from typing import Protocol

from modgate.api.plan import Call, Drawn, Plan
from modgate.api.relay import Event, Outcome, Relay, Usage, fed
from modgate.complaints import SLOW_S, StepEnded
from modgate.drawing import Drawing, Pieces
from modgate.errors import BadReply, GatewayError, PluginFault, Refused, Upstream
from modgate.faults import RAISED, raised
from modgate.heavy import BITE_S, HeavyRelay
from modgate.lane import Lane
from modgate.spool import Scope
from modgate.trip import Trip

DRAWER = -1
AHEAD = 2  # calls may be drawn this many widths ahead of the head, where the plan does not say
YIELDS_AT_MOST = 1000  # at a time, then others have a turn: a relay without an end harms none
FAILED_CALL = (Upstream, Refused)  # errors of one call, which a partial plan does without


class Sink(Protocol):
    """Where the bytes of a reply go: a `Responder`."""

    @property
    def opened(self) -> bool:
        """Whether a byte of the reply may have left."""
        ...

    @property
    def abandoned(self) -> bool:
        """Whether the client left and the calls under way are finished all the same."""
        ...

    async def emit(self, relay: Relay, data: Sequence[bytes]) -> None:
        """Send bytes, on SSE whole events; waits while the client does not read."""
        ...

    def pour(self, data: Sequence[bytes]) -> bool:
        """Send more of an open reply without a wait; False: wait for `room` before the next."""
        ...

    async def room(self) -> None:
        """Wait until the client has read enough; Cancelled when it is gone."""
        ...


class Run:
    """Runs one plan.

    `trip_of(index, call)` reserves what the call needs beyond the reserve, and makes its Trip.
    `step_ended`: told when a step of the relay in the event loop ended.  `cut_short`: calls were
    left out, because the client left.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        trip_of: Callable[[int, Call], Awaitable[Trip]],
        sink: Sink,
        scope: Scope,
        pool: Executor,
        draw: Callable[[Drawn, int], Pieces],
        step_ended: StepEnded,
    ) -> None:
        self._plan = plan
        self._step_ended = step_ended
        self._relay = relay = plan.relay
        self._feed = partial(fed, relay) if relay.observes else relay.feed
        self._trip_of = trip_of
        self._sink = sink
        self._scope = scope
        self._pool = pool
        self._calls = self._drawing(draw)
        self._trips: list[Trip] = []
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._lanes: dict[int, Lane] = {}
        self._head = 0  # the call whose events are fed now
        self._ended = 0  # calls
        self.cut_short = False
        self._changed: asyncio.Event  # only of a plan wider than 1: lanes, tasks or head did
        self._heavy: HeavyRelay | None = None

    def _drawing(self, draw: Callable[[Drawn, int], Pieces]) -> Drawing:
        calls = self._plan.calls
        if isinstance(calls, Drawn):
            return Drawing(pieces=draw(calls, AHEAD * self._plan.width), to_call=calls.to_call)
        return Drawing(calls=iter(calls))

    @property
    def errors(self) -> list[GatewayError]:
        """The errors of the calls that failed."""
        return [trip.error for trip in self._trips if trip.error is not None]

    def outcomes(self) -> list[Outcome]:
        """One for each call drawn so far: entry i is call i's."""
        return [trip.outcome() for trip in self._trips]

    @property
    def fed(self) -> bool:
        """Whether any event was fed to the relay."""
        return any(trip.fed for trip in self._trips)

    def usage(self) -> Usage:
        """What the plan has cost so far."""
        return self._relay.usage(self.outcomes())

    async def go(self) -> None:
        """Run to the end; raises the GatewayError that ended it.  Nothing is left running."""
        if self._relay.heavy:
            self._heavy = HeavyRelay(self._relay, self._pool)
        try:
            if self._plan.width == 1:
                await self._one_by_one()
            else:
                await self._side_by_side()
            self._check_partial()
            if not self.cut_short:
                await self._give(self._closing())
        finally:
            await self._stop()

    def _check_partial(self) -> None:
        """A partial plan may lack some calls, but not all: then the first one's error ends it."""
        errors = [trip.error for trip in self._trips] if self._plan.partial else []
        if errors and errors[0] is not None and None not in errors:
            raise errors[0]

    async def _stop(self) -> None:
        if self._heavy is not None:
            self._heavy.close()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for trip in self._trips:
            trip.close()
        if tasks:
            await asyncio.wait(tasks)
        self._tasks.clear()  # breaks a circle: a task keeps its error, whose frames keep this run
        await self._calls.close()
        for lane in self._lanes.values():
            lane.free()

    async def _next_trip(self) -> Trip | None:
        call = await self._calls.next()
        if call is None:
            return None
        if self._sink.abandoned:
            self.cut_short = True
            return None
        trip = await self._trip_of(len(self._trips), call)
        self._trips.append(trip)
        return trip

    async def _one_by_one(self) -> None:
        while (trip := await self._next_trip()) is not None:
            index = len(self._trips) - 1
            try:
                while events := await trip.next():
                    trip.fed = True
                    await self._give(self._feed_all(index, events), trip)
                    if self._sink.opened and self._heavy is None:
                        await self._flow(index, trip)
            except FAILED_CALL:
                if not self._plan.partial:
                    raise
            self._call_ended(index)

    def _feed_all(self, index: int, events: list[Event]) -> Iterator[bytes]:
        feed = self._feed
        for event in events:
            yield from feed(index, event)

    async def _flow(self, index: int, trip: Trip) -> None:
        """Relay what comes in the transport's callback, without waking this task for each piece.

        Ends when the reply does, or when the client must be waited for.
        """
        feed, pour = self._feed, self._sink.pour
        rest: Iterator[bytes] = iter(())

        def push(events: list[Event]) -> bool:
            nonlocal rest
            data: list[bytes] = []
            began = perf_counter()
            try:
                for at, event in enumerate(events, 1):
                    made = iter(feed(index, event))
                    data.extend(islice(made, YIELDS_AT_MOST))
                    if len(data) >= YIELDS_AT_MOST:
                        rest = chain(made, self._feed_all(index, events[at:]))
                        break
            except GatewayError:
                if data:  # the relay has counted it, so it is sent
                    pour(data)
                raise
            except RAISED as error:
                raise self._fault(error) from error
            if perf_counter() - began > SLOW_S:
                self._step_ended("feed", began)
            return not data or (pour(data) and len(data) < YIELDS_AT_MOST)

        await trip.flow(push)
        await self._sink.room()
        await self._give(rest, trip)

    def _closing(self) -> Iterator[bytes]:
        yield from self._relay.close(self.outcomes())

    async def _give(self, made: Iterator[bytes], trip: Trip | None = None) -> None:
        """Send what the relay makes; of a heavy one bite by bite, while the rest is being made.

        `trip`: the call whose events it is made of; None where the relay closes.
        """
        more, bite_s = True, BITE_S if self._sink.opened else 0.0
        while more:
            data: list[bytes] = []
            try:
                if self._heavy is not None:
                    more = await self._heavy.bite(made, data, bite_s)
                    bite_s = max(BITE_S, bite_s * 2)
                else:
                    more = self._portion(made, data, "close" if trip is None else "feed")
            except GatewayError as error:
                await self._broke(error, data, trip)
                raise
            except raised() as error:
                raise self._fault(error) from error
            if data:
                await self._sink.emit(self._relay, data)
            if more:
                await asyncio.sleep(0)

    async def _broke(self, error: GatewayError, data: list[bytes], trip: Trip | None) -> None:
        if data:  # the relay has counted it, so it is sent
            await self._sink.emit(self._relay, data)
        if trip is not None and isinstance(error, BadReply):
            trip.spoilt(error)

    def _portion(self, made: Iterator[bytes], data: list[bytes], step: str) -> bool:
        """Draw up to YIELDS_AT_MOST into `data`, here in the event loop; whether more may come."""
        began = perf_counter()
        data.extend(islice(made, YIELDS_AT_MOST))
        self._step_ended(step, began)
        return len(data) == YIELDS_AT_MOST

    def _fault(self, error: BaseException) -> GatewayError:
        return PluginFault(f"{type(error).__name__} in {type(self._relay).__name__}")

    async def _side_by_side(self) -> None:
        self._changed = asyncio.Event()
        drawer = asyncio.get_running_loop().create_task(self._draw())
        drawer.add_done_callback(self._drawer_done)
        self._tasks[DRAWER] = drawer
        while True:
            while (lane := self._lanes.get(self._head)) is None:
                if drawer.done():
                    return drawer.result()
                self._changed.clear()
                await self._changed.wait()
            await self._relay_lane(self._head, lane)
            lane.free()
            del self._lanes[self._head]
            self._head += 1
            self._changed.set()

    async def _relay_lane(self, index: int, lane: Lane) -> None:
        try:
            while events := await lane.take():
                trip = self._trips[index]
                trip.fed = True
                await self._give(self._feed_all(index, events), trip)
        except FAILED_CALL:
            if not self._plan.partial:
                raise

    async def _draw(self) -> None:
        """Start calls, `width` at once and so many `ahead` of the head; ends when all are drawn."""
        width = self._plan.width
        ahead = self._plan.ahead or AHEAD * width
        while True:
            while len(self._tasks) > width or len(self._trips) - self._head >= ahead:
                self._changed.clear()
                await self._changed.wait()
            trip = await self._next_trip()
            if trip is None:
                return
            self._start(len(self._trips) - 1, trip)
            self._changed.set()

    def _drawer_done(self, drawer: asyncio.Task[None]) -> None:
        """No more calls.  An error of drawing ends the head at once, if nothing was sent yet."""
        self._changed.set()
        if drawer.cancelled():
            return
        error, head = drawer.exception(), self._lanes.get(self._head)
        if isinstance(error, GatewayError) and head is not None and not self._sink.opened:
            head.close(error)

    def _start(self, index: int, trip: Trip) -> None:
        lane = self._lanes[index] = Lane(self._scope)
        trip.restarted = lane.empty
        self._tasks[index] = asyncio.get_running_loop().create_task(self._carry(index, trip, lane))

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
            del self._tasks[index]
            self._call_ended(index)
            lane.close(error)
            self._changed.set()

    def _call_ended(self, index: int) -> None:
        self._ended += 1
        self._calls.ended(self._ended)
        for file in self._calls.files.pop(index, ()):
            self._scope.drop(file)
