"""Calls of several requests that share one trip, between the queue and the pick.

There is no timer: a call that finds a free slot goes at once.  While none is free, calls wait; the
first that gets a slot takes along the waiting calls of its key.  A merged trip is part of no
request: it has a task of its own, which stops when every member has left.  A trip that an engine
refuses is split in halves, down to the member that caused it; one that an engine fails is retried
as a whole, like a call that goes alone.

Source: algorithms.md 6.3 (natural batching); wire.md 6.3 (members keep their outcome and units).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import index

from msgspec import structs

from modgate import tasks
from modgate.api.modality import Batching
from modgate.api.relay import Event, State
from modgate.disconnect import client_left
from modgate.dispatch import Dispatch
from modgate.errors import BadReply, Draining, GatewayError, PluginFault, Unsupported
from modgate.faults import raised
from modgate.fleet.lease import Lease
from modgate.leasing import Leasing
from modgate.order import Order
from modgate.retrying import Retrying
from modgate.stream import Push
from modgate.trip import DialectFault, Readable

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Rider:
    """An order that waits, the number of its items, and the future of its share of a trip."""

    order: Order
    size: int
    share: asyncio.Future[Event] = field(default_factory=asyncio.Future)
    lease: Lease | None = None  # the trip's: only the first member has it


class Share:
    """A member's part of a merged reply, read like a stream of one event."""

    __slots__ = ("_given", "_rider")

    def __init__(self, rider: _Rider) -> None:
        self._rider = rider
        self._given = False

    async def next(self) -> list[Event]:
        """The member's whole reply, then []."""
        if self._given:
            return []
        event = await asyncio.shield(self._rider.share)
        self._given = True
        return [event]

    async def flow(self, push: Push) -> None:
        """Nothing: a share comes whole."""

    def close(self, state: State, error: GatewayError | None = None) -> None:
        """The member left, or is done."""
        if isinstance(error, BadReply) and self._rider.lease is not None:
            self._rider.lease.spoilt()
        if state != "ok" and not self._rider.share.done():
            self._rider.share.cancel()


class Batcher:
    """Opens the reply of an order: alone, as first of a merged trip, or as a member of one."""

    def __init__(self, dispatch: Dispatch, leasing: Leasing, retrying: Retrying) -> None:
        self._dispatch = dispatch
        self._leasing = leasing
        self._retrying = retrying
        self._trips: set[asyncio.Task[None]] = set()

    def open(self, order: Order) -> Awaitable[Readable]:
        """The reply to read, or a share of a merged one."""
        key = order.batch_key()
        if key is None or order.batch is None:
            return self._dispatch.open(order)
        return self._shared(order, order.batch, key)

    async def _shared(self, order: Order, batch: Batching, key: Hashable) -> Readable:
        rider = _Rider(order, max(0, index(batch.count(order.call))))  # before it has a slot
        try:
            lease = await self._leasing.lease(order, key=key, rider=rider)
        except BaseException:
            rider.share.cancel()  # another trip may have taken it along meanwhile
            raise
        if lease is None:
            return Share(rider)
        others = self._leasing.take_along(order, key, partial(_companions, rider, batch))
        if not others:
            return await self._dispatch.send(order, lease)
        riders = [each for each in (rider, *others) if isinstance(each, _Rider)]
        trip = _MergedTrip(batch, riders, self._dispatch, self._leasing, self._retrying)
        self._start(trip, lease)
        return Share(rider)

    def _start(self, trip: _MergedTrip, lease: Lease) -> None:
        trip.task = task = asyncio.get_running_loop().create_task(trip.go(lease))
        self._trips.add(task)
        task.add_done_callback(self._trips.discard)
        task.add_done_callback(lambda _: trip.ended(lease))

    async def close(self) -> None:
        """Stop the trips that still run."""
        await tasks.end(self._trips)


def _companions(first: _Rider, batch: Batching, waiting: Sequence[object]) -> Sequence[_Rider]:
    """The calls that go along with the first: tenants in turn, the oldest call of each first.

    A tenant whose oldest call does not fit gets no other in, or its long calls would never go.
    """
    room = batch.most - first.size
    lines: dict[str, deque[_Rider]] = {}
    for rider in waiting:
        if isinstance(rider, _Rider) and not rider.share.done():
            lines.setdefault(rider.order.caller.tenant, deque()).append(rider)
    mine = first.order.caller.tenant
    turns = deque(sorted(lines, key=lambda tenant: tenant == mine))  # stable: by oldest, mine last
    taken: list[_Rider] = []
    while turns:
        tenant = turns.popleft()
        size = lines[tenant][0].size
        if size > room:
            continue
        room -= size
        taken.append(lines[tenant].popleft())
        if lines[tenant]:
            turns.append(tenant)
    return taken


class _MergedTrip:
    """One merged call on its way."""

    def __init__(
        self,
        batch: Batching,
        riders: Sequence[_Rider],
        dispatch: Dispatch,
        leasing: Leasing,
        retrying: Retrying,
    ) -> None:
        self._batch = batch
        self._riders = list(riders)
        self._dispatch = dispatch
        self._leasing = leasing
        self._retrying = retrying
        self.task: asyncio.Task[None] | None = None
        for rider in riders:
            rider.share.add_done_callback(lambda _: self.left())

    def left(self) -> None:
        """A member left or has its share; the trip stops when none is left to serve."""
        if self.task is not None and all(rider.share.done() for rider in self._riders):
            self.task.cancel()

    def ended(self, lease: Lease) -> None:
        """The task is over, perhaps before it began: the slot is free, and no member waits on."""
        lease.give_back()
        _fail(self._riders, Draining("this gateway is going away"))

    async def go(self, lease: Lease) -> None:
        """Give each member its share, in as many calls as that takes."""
        first: Lease | None = lease
        groups = deque([self._riders])
        try:
            while groups:
                if riders := _staying(groups.popleft()):
                    groups.extendleft(reversed(await self._carry(riders, first)))
                first = None
        except raised() as error:
            log.exception("merge or split failed")
            fault = PluginFault(f"{type(error).__name__} while calls were merged")
            fault.__cause__ = error
            _fail(self._riders, fault)

    async def _carry(self, riders: Sequence[_Rider], lease: Lease | None) -> Sequence[list[_Rider]]:
        """One call for these members; returns the groups that must be sent again."""
        orders = [rider.order for rider in riders]
        try:
            if lease is None:
                lease = await self._leasing.lease(orders[0])
                assert lease is not None
            events = await self._whole(orders, lease)
        except (GatewayError, Unsupported) as error:
            if lease is not None:
                return await self._left_over(riders, error)
            if orders[0].draft.abandoned:  # its client left, and the others go on
                return [list(riders)]
            _fail(riders, error)
            return ()
        finally:
            if lease is not None:
                lease.give_back()
        riders[0].lease = lease
        # All of them before the first is given: of too few or too many nobody knows whose is whose.
        for rider, event in list(zip(riders, events, strict=True)):
            if not rider.share.done():
                rider.share.set_result(event)
        return ()

    async def _left_over(
        self, riders: Sequence[_Rider], error: GatewayError | Unsupported
    ) -> Sequence[list[_Rider]]:
        """What is sent again after a failed call: all of them, their halves, or nothing."""
        orders = [rider.order for rider in riders]
        if (pause := self._retrying.pause_s(orders, error)) is not None:
            await self._retrying.pause(orders, pause)
            return [list(riders)]
        if len(riders) == 1 or not _is_refused(orders[0].final_error(error)):
            _fail(riders, error)
            return ()
        for order in orders:
            order.begin_again()  # a half is another call than the whole
        middle = len(riders) // 2
        return [list(riders[:middle]), list(riders[middle:])]

    async def _whole(self, orders: Sequence[Order], lease: Lease) -> Sequence[Event]:
        """The members' replies, from one call."""
        merged = orders[0]
        if len(orders) > 1:
            call = self._batch.merge([order.call for order in orders])
            merged = structs.replace(merged, call=call, members=orders)
        event = await self._answered(merged, lease)
        if len(orders) == 1:
            return [event]
        try:
            return self._batch.split([order.call for order in orders], event)
        except BadReply as error:
            for order in orders:
                if (last := order.draft.last_try(order.index)) is not None:
                    last.spoilt("failed", error)
            lease.spoilt()
            raise

    async def _answered(self, order: Order, lease: Lease) -> Event:
        """The whole reply to one call; DialectFault for what its dialect does wrong."""
        try:
            stream = await self._dispatch.send(order, lease)
            try:
                event = (await stream.next())[0]
                stream.close("ok")
            except BaseException as error:
                known = error if isinstance(error, GatewayError) else None
                stream.close("failed" if known else "cancelled", known)
                raise
        except (GatewayError, Unsupported):
            raise
        except raised() as error:
            raise DialectFault(error, order) from error
        return event


def _staying(riders: Sequence[_Rider]) -> Sequence[_Rider]:
    """The members that still go out; those whose client left end here."""
    _fail([rider for rider in riders if rider.order.draft.abandoned], client_left())
    return [rider for rider in riders if not rider.share.done()]


def _is_refused(error: GatewayError | Unsupported) -> bool:
    """Whether one member alone may be the reason, so that the others deserve another try."""
    return isinstance(error, Unsupported) or (400 <= error.status < 499 and not error.retryable)


def _fail(riders: Sequence[_Rider], error: GatewayError | Unsupported) -> None:
    for rider in riders:
        if not rider.share.done():
            rider.share.set_exception(rider.order.final_error(error))
            rider.share.exception()  # marks it as seen, for a member that left never looks
