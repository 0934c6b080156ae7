"""The calls of one request as trips: of its plan, and of what is asked before there is one."""

from __future__ import annotations

from functools import partial

import msgspec

from modgate.api.auth import Caller
from modgate.api.json import Json
from modgate.api.need import Ask
from modgate.api.plan import Call, Plan
from modgate.asides import ask_all, bill_aside
from modgate.bill import Bill
from modgate.draft import Draft
from modgate.dry_run import UNASKED
from modgate.errors import PluginFault, Refused
from modgate.fallback import Chain
from modgate.gateway import Gateway
from modgate.order import Order
from modgate.table import Resolved, guard_model
from modgate.trip import Trip


class Trips(msgspec.Struct, eq=False):
    """Makes the trips of one request, as the model that it is served as.

    `chain`: the models that its first call may go to instead.  `side_calls`: so many so far; theirs
    are the indices below zero.  `errors`: of calls that failed, whoever made do without them.
    """

    gateway: Gateway
    draft: Draft
    bill: Bill
    resolved: Resolved
    chain: Chain | None = None
    side_calls: int = 0
    errors: list[Exception] = []

    async def trip_of(self, index: int, call: Call) -> Trip:
        """Call `index` of the plan; what it needs beyond the reserve is reserved first."""
        order, bill = self._order(index, call, self.draft.caller), self.bill
        trip = Trip(order, self.gateway.batcher.open, self.gateway.retrying)
        if call.model is not None:
            if call.reply != "whole":
                raise PluginFault("a call of another model has a whole reply, which can be counted")
            held = await bill.reserve_aside(call.size.of(order.modality.name), order.model.name)
            trip.bill = partial(bill_aside, order, bill, held)
        elif bill.lazy:
            await bill.reserve_drawn(call, order.modality.name)
        return trip

    async def try_on(self, plan: Plan) -> list[Order] | None:
        """Reserve for the calls of a plan that is not run; None where nobody knows them before."""
        if not isinstance(plan.calls, tuple | list):
            return None
        return [(await self.trip_of(index, call)).order for index, call in enumerate(plan.calls)]

    async def ask(self, need: Ask, *, trusted: bool = False) -> Json:
        """Answer an Ask by side calls.  `trusted`: the operator named the models, not a client."""
        if self.draft.dry:
            raise Refused(None, "dry_run_unsupported", UNASKED)
        trips, gateway = [], self.gateway
        for call in need.calls:
            self.side_calls += 1
            order = self._order(-self.side_calls, call, None if trusted else self.draft.caller)
            trips.append(Trip(order, gateway.batcher.open, gateway.retrying))
        answers = await ask_all(trips, need.width, self.bill)
        failed = [each for each in answers if isinstance(each, Exception)]
        self.errors += failed
        if failed:
            raise failed[0]
        return answers

    def _order(self, index: int, call: Call, caller: Caller | None) -> Order:
        table, resolved = self.gateway.table, self.resolved
        model, modality, asked = resolved.model, resolved.modality, resolved.asked
        own = call.model is None
        if call.model is not None:
            model = guard_model(table.models, call.model, caller)
            if caller is not None:
                self.draft.beside.add(model.name)
            modality, asked = table.modalities[model.modality], model.name
        return Order(
            index=index,
            call=call,
            model=model,
            modality=modality,
            draft=self.draft,
            asked=asked,
            batch=resolved.endpoint.batch if own else None,
            chain=self.chain if own and index == 0 else None,
        )
