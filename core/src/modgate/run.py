"""Running one plan: its calls are drawn, their events fed to the relay in call order.

A plan of width 1 runs here, in the request's own task; a wider one in `side_by_side.py`.  What the
relay makes goes out in `feeding.py`.  Nothing is left running when `go` returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from modgate.api.plan import Call, Plan
from modgate.api.relay import Outcome, Usage
from modgate.complaints import StepEnded
from modgate.drawing import AHEAD, Draw, Drawing
from modgate.errors import GatewayError, Refused, TooLarge, Upstream
from modgate.feeding import Feeding, Sink
from modgate.side_by_side import SideBySide
from modgate.spool import Scope
from modgate.trip import Trip

FAILED_CALL = (Upstream, Refused, TooLarge)  # errors of one call, which a partial plan does without


class Run:
    """Runs one plan.

    `trip_of(index, call)`: reserves what the call needs beyond the reserve, and makes its Trip.
    `cut_short`: calls were left out, because the client left.  `errors`: of the calls that failed,
    once it has ended.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        trip_of: Callable[[int, Call], Awaitable[Trip]],
        sink: Sink,
        scope: Scope,
        pool: Executor,
        draw: Draw,
        step_ended: StepEnded,
    ) -> None:
        self._plan = plan
        self._relay = relay = plan.relay
        self._trip_of = trip_of
        self._sink = sink
        self._scope = scope
        self._calls = Drawing(plan.calls, draw, AHEAD * plan.width)
        self._spared = FAILED_CALL if plan.partial else ()
        self._trips: list[Trip] = []
        self._ended = 0  # calls
        self.cut_short = False
        self.errors: list[GatewayError] = []
        self._side_by_side: SideBySide | None = None
        self._feeding = Feeding(relay, sink=sink, pool=pool, step_ended=step_ended)

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
        """Run to the end; raises the GatewayError that ended it."""
        try:
            if self._plan.width == 1:
                await self._one_by_one()
            else:
                await self._wide().go()
            if self._plan.partial:
                self._check_partial()
            if not self.cut_short:
                await self._feeding.close(self.outcomes())
        finally:
            await self._stop()

    async def _one_by_one(self) -> None:
        feeding = self._feeding
        while (trip := await self._next_trip()) is not None:
            try:
                while events := await trip.next():
                    await feeding.feed(trip, events)
                    if self._sink.opened and not self._relay.heavy:
                        await feeding.flow(trip)
            except self._spared:
                pass
            self._call_ended(trip.order.index)

    def _wide(self) -> SideBySide:
        self._side_by_side = made = SideBySide(
            self._plan,
            next_trip=self._next_trip,
            call_ended=self._call_ended,
            spared=self._spared,
            feeding=self._feeding,
            sink=self._sink,
            scope=self._scope,
        )
        return made

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

    def _call_ended(self, index: int) -> None:
        self._ended += 1
        self._calls.ended(self._ended)
        for file in self._calls.files.pop(index, ()):
            self._scope.drop(file)

    def _check_partial(self) -> None:
        """A partial plan may lack some calls, but not all: then the first one's error ends it."""
        errors = [trip.error for trip in self._trips]
        if errors and errors[0] is not None and None not in errors:
            raise errors[0]

    async def _stop(self) -> None:
        wide, self._side_by_side = self._side_by_side, None  # they know each other
        self._feeding.stop()
        if wide is not None:
            wide.cancel()
        for trip in self._trips:
            trip.close()
            if trip.error is not None:
                self.errors.append(trip.error)
        if wide is not None:
            self.errors += await wide.ended()  # of the spool, or of drawing, and nobody met them
        await self._calls.close()
