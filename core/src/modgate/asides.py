"""Asides: what a plugin or a policy asks models before there is a plan, and what a plan asks
another model than the request's.

Each is reserved by itself and billed as its modality counts, whatever becomes of the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from modgate.api.json import Json
from modgate.api.relay import Event, Usage
from modgate.bill import Bill
from modgate.errors import GatewayError, PluginFault, Unsupported
from modgate.faults import RAISED
from modgate.limits.admission import Aside
from modgate.order import Order
from modgate.trip import Trip


async def ask_all(trips: Sequence[Trip], width: int, bill: Bill) -> list[Json]:
    """The whole replies in call order, `width` at once; the error of a call that failed."""
    gate = asyncio.Semaphore(max(1, width))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_ask_one(trip, gate, bill)) for trip in trips]
    return [task.result() for task in tasks]


async def _ask_one(trip: Trip, gate: asyncio.Semaphore, bill: Bill) -> Json:
    order = trip.order
    async with gate:
        try:
            model, modality = order.model.name, order.modality.name
            units = order.call.size.of(modality)
            held = await bill.reserve_aside(units, model)
            with bill.asking(held, units):
                events = await trip.next()
                while await trip.next():
                    raise PluginFault("an Ask call answered more than one event")
                bill_aside(order, bill, held, events)
        except (GatewayError, Unsupported) as error:
            return error
        finally:
            trip.close()
    return events[0]


def bill_aside(order: Order, bill: Bill, held: Sequence[Aside], events: Sequence[Event]) -> None:
    """Bill an answered aside, for which `held` was reserved."""
    usage, modality = _counted(order, events), order.modality.name
    bill.meter.add_aside(usage, modality, order.index)
    bill.settle_aside(held, usage.units.of(modality), order.model.name)


def _counted(order: Order, events: Sequence[Event]) -> Usage:
    """What the modality says that the reply did cost."""
    if not events:
        raise PluginFault("a dialect made no event of a whole reply")
    try:
        return order.modality.count(order.call, events[0])
    except GatewayError:  # the engine's, whose reply does not fit
        raise
    except RAISED as error:
        name = order.modality.name
        raise PluginFault(f"{type(error).__name__} while {name} counted a call") from error
