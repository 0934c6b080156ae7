"""Calls of several requests that share one trip, between the queue and the pick.

No timer: a call that finds a free slot goes at once.  While none is free, calls wait; the first
that gets a slot takes along those of its key that wait too.  The merged trip belongs to nobody's
request: it has a task of its own, which stops when every member has left.

Source: algorithms.md 6.3 (natural batching); wire.md 6.3 (members keep their outcome and units).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from modgate.api.modality import Batching
from modgate.api.relay import Event, State
from modgate.dispatch import Dispatch, Order
from modgate.errors import GatewayError, PluginFault, Refused
from modgate.fleet.fleet import Lease
from modgate.trip import Readable

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Rider:
    """An order that waits, and where its share of a trip will be put."""

    order: Order
    share: asyncio.Future[Event] = field(default_factory=asyncio.Future)


class Share:
    """A member's part of a merged trip, read like a stream of one whole event."""

    __slots__ = ("_given", "_rider")

    def __init__(self, rider: _Rider) -> None:
        self._rider = rider
        self._given = False

    async def next(self) -> list[Event]:
        """The member's own whole reply, then []."""
        if self._given:
            return []
        event = await asyncio.shield(self._rider.share)
        self._given = True
        return [event]

    def close(self, state: State, error: GatewayError | None = None) -> None:
        """The member left, or is done."""
        del error
        if state != "ok" and not self._rider.share.done():
            self._rider.share.cancel()


class Batcher:
    """Opens orders: alone, as the first of a merged trip, or as a member of another's."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._trips: set[asyncio.Task[None]] = set()

    async def open(self, order: Order) -> Readable:
        """A reply to read; it may be a share of a merged one."""
        key = order.batch_key()
        if key is None or order.batch is None:
            lease = await self._dispatch.lease(order)
            assert lease is not None
            return await self._dispatch.send(order, lease)
        return await self._open_batched(order, order.batch, key)

    async def _open_batched(self, order: Order, batch: Batching, key: object) -> Readable:
        rider = _Rider(order)
        lease = await self._dispatch.lease(order, key=key, rider=rider)
        if lease is None:
            return Share(rider)
        room = batch.most - batch.count(order.call)
        riders = self._dispatch.fleet.companions(
            order.model.name, key, room, lambda other: _size(other, batch)
        )
        others = [other for other in riders if _is_rider(other) and not other.share.cancelled()]
        if not others:
            return await self._dispatch.send(order, lease)
        trip = _Trip(self._dispatch, batch, [rider, *others])
        task = asyncio.get_running_loop().create_task(trip.go(lease))
        trip.task = task
        self._trips.add(task)
        task.add_done_callback(self._trips.discard)
        return Share(rider)

    async def close(self) -> None:
        """Stop the trips that still run."""
        tasks = list(self._trips)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class _Trip:
    """One merged call on its way."""

    def __init__(self, dispatch: Dispatch, batch: Batching, riders: Sequence[_Rider]) -> None:
        self._dispatch = dispatch
        self._batch = batch
        self._riders = list(riders)
        self.task: asyncio.Task[None] | None = None
        for rider in riders:
            rider.share.add_done_callback(lambda _: self.left())

    def left(self) -> None:
        """A member left; when all have, the trip stops."""
        if self.task is not None and all(rider.share.cancelled() for rider in self._riders):
            self.task.cancel()

    async def go(self, lease: Lease) -> None:
        """Send the merged call, and give each member its own; an error is everyone's."""
        try:
            events = await self._whole(self._riders, lease)
            for rider, event in zip(self._riders, events, strict=True):
                _give(rider, event)
        except Refused as error:
            await self._alone(error)
        except GatewayError as error:
            _fail(self._riders, error)
        except Exception as error:
            log.exception("merge or split failed")
            fault = PluginFault(f"{type(error).__name__} while calls were merged")
            fault.__cause__ = error
            _fail(self._riders, fault)

    async def _alone(self, refused: Refused) -> None:
        """One member spoilt the trip: each goes by itself, so that only the culprit is refused."""
        for rider in self._riders:
            if rider.share.done():
                continue
            try:
                lease = await self._dispatch.lease(rider.order)
                assert lease is not None
                [event] = await self._whole([rider], lease)
            except GatewayError as error:
                _fail([rider], error)
            else:
                _give(rider, event)

    async def _whole(self, riders: Sequence[_Rider], lease: Lease) -> Sequence[Event]:
        first = riders[0].order
        orders = [rider.order for rider in riders]
        merged = first
        if len(riders) > 1:
            call = self._batch.merge([order.call for order in orders])
            merged = replace(first, call=call, members=orders[1:])
        stream = await self._dispatch.send(merged, lease)
        try:
            event = (await stream.next())[0]
            stream.close("ok")
        except BaseException as error:
            known = error if isinstance(error, GatewayError) else None
            stream.close("failed" if known else "cancelled", known)
            raise
        if len(riders) == 1:
            return [event]
        return self._batch.split([order.call for order in orders], event)


def _is_rider(value: object) -> TypeGuard[_Rider]:
    return isinstance(value, _Rider)


def _size(value: object, batch: Batching) -> int:
    return batch.count(value.order.call) if _is_rider(value) else 0


def _give(rider: _Rider, event: Event) -> None:
    if not rider.share.done():
        rider.share.set_result(event)


def _fail(riders: Sequence[_Rider], error: GatewayError) -> None:
    for rider in riders:
        if not rider.share.done():
            rider.share.set_exception(error)
            rider.share.exception()  # a member that left must not be reported as never retrieved
