"""A request that is only tried on: all is decided and reserved, no engine is asked, nothing billed.

It goes the way of any other as far as its plan's calls, and is refused for whatever that would be
refused for; then it is told what it would have reserved.  Of calls that only a run would draw no
more is known than the plan's reserve.

Source: field.md, what none of them has, 14.
"""

from __future__ import annotations

from collections.abc import Sequence

from modgate.api.json import Json, JsonObject
from modgate.api.surface import dump
from modgate.draft import Draft
from modgate.errors import Unpriced
from modgate.fleet.pick import Wanted
from modgate.gateway import Gateway
from modgate.money.budgets import COST
from modgate.money.invoice import decimal, shown_units
from modgate.order import Order
from modgate.units import Units

# A plugin may do without the answer, and plan by estimate.
UNASKED = "it must ask an engine before it can be planned, which a dry run does not"
HEADERS = {"content-type": "application/json", "x-modgate-dry-run": "true"}


def describe(
    gateway: Gateway, draft: Draft, orders: Sequence[Order] | None, planned: Units
) -> bytes:
    """The body of its reply.

    `orders`: its plan's calls, where they are known.  `planned`: as of a Bill.
    """
    found: JsonObject = {
        "object": "dry_run",
        "v": 1,
        "id": draft.request_id,
        "modality": draft.modality,
        "model": draft.model,
        "slo": draft.caller.policy.slo or None,
        "stream": draft.stream,
        "calls": None if orders is None else len(orders),
        "reserved": dict(draft.reserved),
        "shown": dict(shown_units(draft.reserved, gateway.units)),
        "cost": _cost(gateway, draft, orders or (), planned),
        **_engines(gateway, draft, orders[0] if orders else None),
    }
    return dump(found)


def _cost(gateway: Gateway, draft: Draft, orders: Sequence[Order], planned: Units) -> Json:
    """Of what is reserved, where it is dearest; None where nobody says what it costs."""
    book = gateway.budgets.tariff.books.in_force(draft.wall)
    if book is None:
        return None
    try:
        costs = [gateway.budgets.reserve(draft, planned, draft.model, first=True)]
        for each in orders:
            if each.call.model is not None:
                size = each.call.size.of(each.modality.name)
                costs.append(gateway.budgets.reserve(draft, size, each.model.name, first=False))
    except Unpriced:
        return None
    micro = sum(cost[COST.name] for cost in costs)
    return {"currency": book.currency, "micro": micro, "amount": decimal(micro)}


def _engines(gateway: Gateway, draft: Draft, order: Order | None) -> JsonObject:
    """How those stand that may take its first call, and how many calls wait for them."""
    model = order.model.name if order is not None else draft.model
    requires = order.call.requires if order is not None else ()
    wanted = Wanted(regions=draft.caller.policy.regions, requires=requires)
    fleet, now = gateway.fleet, gateway.fleet.now()
    pool = fleet.pools.get(model)
    seats = pool.candidates(wanted) if pool is not None else ()
    up = [seat for seat in seats if seat.health.until <= now]
    engine = "none" if not seats else "away" if not up else "busy"
    if any(seat.free for seat in up):
        engine = "free"
    line = fleet.state.busy.get(model)
    return {"engine": engine, "waiting": line.calls if line is not None else 0}
