"""Trying calls again: what `retry.py` rules, applied to the orders of one trip.

The orders are those that share the trip, and the first speaks for all: they went to one backend,
and failed as one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial

from modgate.errors import GatewayError, Unsupported
from modgate.fleet.fleet import Fleet
from modgate.fleet.outlook import has_other
from modgate.foresight import Foresight
from modgate.order import Order
from modgate.retry import NOT_READY, alike, failure_of, pause_s

EXHAUSTED = "retry_budget_exhausted"


class Retrying:
    """Says whether and when calls go out again, within the retry budgets of their pools."""

    def __init__(self, fleet: Fleet, foresight: Foresight) -> None:
        self._fleet = fleet
        self._foresight = foresight

    def pause_s(self, orders: Sequence[Order], error: GatewayError | Unsupported) -> float | None:
        """Seconds until these go out again; None: `error` ended them for good.

        Notes in each order where and how it failed.  A gateway that is called by another gateway
        leaves retries to that one.
        """
        first, fleet = orders[0], self._fleet
        model = first.model.name
        last = first.draft.last_try(first.index)
        if last is None or first.attempts == len(first.failures):
            return None  # no attempt since: it waited in vain, or its merged trip has asked already
        failure = failure_of(error, last.status)
        alike_at = fleet.twins(model, last.backend) if failure == "unsaid" else (last.backend,)
        for order in orders:
            order.failed(error, failure, alike_at)
        if isinstance(error, GatewayError):
            error.alike = len(first.tried) > 1 and alike(first.failures)
        if failure != "unsaid" and any(order.draft.behind_gateway for order in orders):
            return None
        pause = pause_s(
            first.failures,
            other=has_other(fleet.pools.get(model), first.new_wanted()),
            left_s=min(order.draft.left_s for order in orders),
            needs_s=self._foresight.needs_s(first) if failure == "late" else 0.0,
            held_s=self._held_s(first) if failure == "loading" else 0.0,
            turn_s=partial(fleet.holding.turn_s, model, fleet.now()),
            lot=random.random,
        )
        if pause is None or failure in NOT_READY or fleet.may_retry(model):
            return pause
        for order in orders:
            order.draft.notes[EXHAUSTED] = model
        return None

    def _held_s(self, order: Order) -> float:
        """For how many more seconds a call is tried again while its engines load the model."""
        draft, fleet, claim = order.draft, self._fleet, self._foresight.claim(order)
        if not (order.alone and fleet.holding.has_room(order.model.name, claim)):
            return 0.0
        since_s = next((t.began_s for t in draft.tries if t.call == order.index), draft.elapsed())
        return since_s + fleet.rules.hold_s - draft.elapsed()

    async def pause(self, orders: Sequence[Order], seconds: float) -> None:
        """Wait so long, or until the model is loaded where the engine was loading it."""
        first = orders[0]
        last = first.draft.last_try(first.index)
        if last is None or first.failures[-1] != "loading":
            await asyncio.sleep(seconds)
            return
        began = [order.draft.elapsed() for order in orders]
        claim, model = self._foresight.claim(first), first.model.name
        for order in orders:
            if (error := order.engine_error) is not None:
                order.draft.waits[order.index] = partial(_same, error)
        try:
            await self._fleet.holding.pause(model, last.backend, claim, seconds)
        finally:
            for order, began_s in zip(orders, began, strict=True):
                order.draft.waits.pop(order.index, None)
                order.draft.step("queue", began_s)


def _same(error: GatewayError) -> GatewayError:
    """The engine's own error, for a request whose deadline comes while its model loads."""
    return error
