"""Serving one request whose body is read: as the model that it asks for, or one that stands in.

shape (and its Needs) -> policies -> reserve -> run
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import assert_never

import msgspec
from msgspec import structs

from modgate.api.json import Json
from modgate.api.model import Model
from modgate.api.need import Ask, Fetch, Need, Work
from modgate.api.plan import Drawn, Plan
from modgate.api.relay import Relay
from modgate.api.request import Request
from modgate.bill import Bill
from modgate.disconnect import check_abandoned
from modgate.draft import Draft
from modgate.drawing import Pieces
from modgate.dry_run import HEADERS as DRY_RUN_HEADERS
from modgate.dry_run import describe
from modgate.errors import GatewayError, Refused, Unsupported
from modgate.fallback import Chain, along
from modgate.gateway import Gateway
from modgate.guard import Deadline
from modgate.idempotency import KeyedRequest
from modgate.keeping import KeepingResponder
from modgate.needs import shape
from modgate.policies import Judge
from modgate.responder import Responder
from modgate.run import Run
from modgate.spool import Scope
from modgate.state import State
from modgate.table import Resolved
from modgate.timeouts import as_asked
from modgate.trips import Trips
from modgate.units import NOTHING, Units


class Serving(msgspec.Struct, eq=False, kw_only=True):
    """Serves one request.

    `guard`: its deadline.  `keyed`: its idempotency key.  `request` and `trips` have the model that
    it is served as, which may stand in for the one that was asked for.
    """

    # what its Exchange has of it from the first header on
    state: State
    gateway: Gateway
    draft: Draft
    bill: Bill
    guard: Deadline
    scope: Scope
    responder: Responder

    request: Request
    keyed: KeyedRequest | None
    trips: Trips

    # what came of it: the last plan's relay, and whether a plan that failed had fed its own
    relay: Relay | None = None
    fed: bool = False

    def go(self) -> Awaitable[None]:
        """Serve it as the model that was asked for; where that fails, along the model's chain."""
        chains, asked = self.gateway.chains, self.trips.resolved
        chain = chains.of(asked.model.name, self.draft.caller) if chains.by_model else None
        if chain is None:
            return self._serve()
        serve = partial(self._serve_along, asked)
        return along(chain, self.draft, serve=serve, free=self._free)

    def _free(self) -> bool:
        """Whether another model may serve it: nothing was replied, and the request goes on."""
        reply = self.responder.reply
        return not (reply.opened or reply.gone or self.fed or self.guard.reason)

    async def _serve_along(self, asked: Resolved, model: Model, chain: Chain | None) -> None:
        """As one model of a chain; `chain`: the models that its first call may go to instead."""
        self.bill.take_back()
        if model is not asked.model:
            asked = structs.replace(asked, model=model, asked=model.name)
        self.trips.chain, self.trips.resolved = chain, asked
        self.request = structs.replace(self.request, model=asked.model, asked=asked.asked)
        await self._serve()

    async def _serve(self) -> None:
        modality = self.trips.resolved.modality
        self._note_model()
        self._set_deadline(modality.name, NOTHING)
        plan = await self._shape()
        self.relay = relay = plan.relay
        stream = relay.head.kind != "whole"
        if self.gateway.chains.by_model:
            self.bill.mark()
        else:  # free a long prompt now, and not when its stream has ended
            self.request = structs.replace(self.request, parsed={})
        size = await self.bill.reserve(plan, modality)
        self._set_deadline(modality.name, size)
        if self.draft.dry:
            self.draft.stream = stream
            orders = await self.trips.try_on(plan)
            told = describe(self.gateway, self.draft, orders, self.bill.planned)
            await self.responder.page(DRY_RUN_HEADERS, told)
        else:
            await self._run(plan, stream=stream)

    def _note_model(self) -> None:
        draft, resolved = self.draft, self.trips.resolved
        draft.modality = resolved.modality.name
        draft.model = resolved.model.name
        draft.demo = resolved.model.demo
        draft.operation = resolved.endpoint.operation or resolved.modality.name
        draft.surface = self.request.surface.name

    def _set_deadline(self, modality: str, size: Units) -> None:
        """The request's deadline: the modality's, or the client's wish if that is sooner."""
        seconds = self.gateway.timeouts.seconds(modality, "total", size)
        self.draft.due_s = as_asked(self.draft.request_headers, seconds)
        self.guard.set(self.guard.now() + self.draft.left_s)

    async def _shape(self) -> Plan:
        """shape -> policies."""
        draft, resolved, began = self.draft, self.trips.resolved, self.draft.elapsed()
        try:
            plan = await shape(resolved.endpoint, self.request, self._answer, self._step_ended)
        except Unsupported as error:
            raise Refused(None, "unsupported_endpoint", str(error)) from error
        finally:
            draft.step("shape", began)
        policies = self.gateway.policies
        if (rules := policies.rules.get(resolved.model.name)) is None:
            return plan
        judge = Judge(policies.targets, draft, partial(self.trips.ask, trusted=True))
        return await judge.check(rules, self.request, plan)

    async def _answer(self, need: Need) -> Json:
        """Do what `shape` asked the core for."""
        match need:
            case Fetch():
                self.gateway.guard_fetch(self.draft.caller)
                return await self.gateway.fetcher.fetch(need, self.scope)
            case Work():
                left_s = max(0.1, self.draft.left_s)
                return await self.state.decoders.run(need, self.scope, timeout_s=left_s)
            case Ask():
                return await self.trips.ask(need)
            case _:
                assert_never(need)

    async def _run(self, plan: Plan, *, stream: bool) -> None:
        """Run the plan, and end the reply."""
        streamed, self.draft.stream = self.draft.stream, stream
        if stream and not streamed:  # an earlier plan, of another model, may hold it already
            self.bill.hold("streams", 1)
        head = plan.relay.head
        self.responder.watch(self.request.surface, head)
        responder: Responder | KeepingResponder = self.responder
        if self.keyed is not None:
            responder = KeepingResponder(self.responder, self.keyed, head)
        run = Run(
            plan,
            trip_of=self.trips.trip_of,
            sink=responder,
            scope=self.scope,
            pool=self.state.heavy_threads,
            draw=self._draw,
            step_ended=self._step_ended,
        )
        self.bill.meter.plan = run.usage
        try:
            await run.go()
        except GatewayError:
            self.fed = run.fed
            raise
        finally:
            self.trips.errors += run.errors
        check_abandoned(self.draft, cut_short=run.cut_short)
        await responder.finish(plan.relay.head, self.bill.meter.header())

    def _step_ended(self, step: str, began: float) -> None:
        self.state.complaints.step_ended(self.gateway, self.draft, step, began)

    def _draw(self, drawn: Drawn, ahead: int) -> Pieces:
        begun = partial(self.draft.step, "decode", self.draft.elapsed())
        return self.state.decoders.draw(drawn, self.scope, ahead=ahead, begun=begun)
