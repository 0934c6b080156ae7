"""One request, in one direction: from its head to its receipt.

    route -> authenticate -> admit -> body -> resolve -> shape -> policies -> reserve -> run
    -> settle

Whatever happens on the way, the bill is settled exactly once, synchronously, and nothing of the
request is left: no task, no slot, no spool file, no reservation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import assert_never

from aiohttp import web
from msgspec import structs

from modgate.api.body import Body
from modgate.api.json import Json, JsonObject
from modgate.api.model import Model
from modgate.api.need import Ask, Fetch, Need, Work
from modgate.api.plan import Drawn, Plan
from modgate.api.request import Request
from modgate.api.surface import Surface
from modgate.auth.verdict import Pending
from modgate.bill import Bill
from modgate.disconnect import check_abandoned, client_left, finishes_without_client
from modgate.draft import Draft
from modgate.drawing import Pieces
from modgate.dry_run import HEADERS as DRY_RUN_HEADERS
from modgate.dry_run import describe
from modgate.errors import Draining, GatewayError, Refused, Unsupported
from modgate.fallback import Chain, along
from modgate.faults import raised
from modgate.gateway import Gateway
from modgate.guard import Deadline
from modgate.http.egress import Reply
from modgate.http.ingress import Ingress, client_address
from modgate.http.surfaces import spoken
from modgate.idempotency import KeepingResponder, KeyedRequest, carries_key, replay_headers
from modgate.isolation import isolation
from modgate.needs import shape
from modgate.observe.tracing import Trace
from modgate.pages.catalog import Page, page_of
from modgate.policies import Judge
from modgate.responder import Responder
from modgate.run import Run
from modgate.state import State
from modgate.table import Resolved, Route, parse
from modgate.timeouts import as_asked, too_long
from modgate.tracebacks import let_go
from modgate.trips import Trips
from modgate.units import NOTHING, Units

FAULT = "internal error; the request id helps to find it"


class Exchange:
    """One request that needs a key, and its reply.

    It keeps the snapshot that it began with to its end, whatever is reloaded meanwhile.
    """

    def __init__(self, state: State, request: web.BaseRequest) -> None:
        self._state = state
        self._gateway: Gateway = state.gateway()
        self._request = request
        self._clock = state.clock
        self.draft = Draft(
            request_id=state.request_id(),
            trace=Trace.of(request.headers, sample=state.sample, entropy=state.entropy),
            entropy=state.entropy,
            now=self._clock.now,
            began=self._clock.now(),
            wall=self._clock.wall(),
            method=request.method,
            request_headers=request.headers,
        )
        self._step_ended = partial(state.complaints.step_ended, self._gateway, self.draft)
        self._complain = partial(state.complaints.fault, self._gateway, self.draft)
        self._guard = Deadline(too_long)
        self._began = self._guard.now()
        self.reply = Reply(request, self._guard.now, leaving=lambda: state.draining)
        self._bill = Bill(state, self._gateway, self.draft)
        self._responder = Responder(
            self.reply,
            self.draft,
            guard=self._guard,
            timeouts=self._gateway.timeouts,
            extra=self._extra_headers,
            touch=self._bill.touch,
        )
        self._scope = state.spool.scope(partial(self._bill.hold, "spool_bytes"))
        self._surface: Surface = self._gateway.surfaces["openai"]
        self._ingress: Ingress | None = None
        self._parsed: JsonObject = {}
        self._trips: Trips | None = None
        self._plan: Plan | None = None
        self._keyed: KeyedRequest | None = None
        self._fed = False
        self._call_errors: list[GatewayError] = []

    async def serve(self) -> web.StreamResponse:
        """From the first header to the receipt; returns what aiohttp's handler must return."""
        error: GatewayError | None = None
        self._state.enter(self)
        self.reply.on_gone(self._client_left)
        try:
            error = await self._served()
        except BaseException:
            error = Draining("this gateway stopped")
            self.reply.abort()
            raise
        finally:
            self._bill.settle(
                error,
                status=self.reply.status or (error.status if error is not None else 0),
                bytes_in=self._ingress.bytes_in if self._ingress is not None else 0,
                bytes_out=self.reply.bytes_out,
            )
            self._responder.close()
            self._guard.disarm()
            self._scope.close()
            self._state.leave(self)
            let_go([error, self._guard.reason, *self._call_errors])
        return self.reply.finish()

    def _client_left(self) -> None:
        resolved = self._trips.resolved if self._trips is not None else None
        if not finishes_without_client(self.draft, resolved):
            self._guard.fire(client_left())

    def cut(self) -> None:
        """End the request, because the gateway waits no longer; the client is told if possible."""
        self._guard.fire(Draining("this gateway is shutting down; try again"))

    async def _served(self) -> GatewayError | None:
        """Reply to the client: None when all went well, else the error that it was told."""
        try:
            with self._guard:
                await self._flow()
        except GatewayError as known:
            error = known
            if error.status == 500:
                self._complain(error)
                error = GatewayError(FAULT)  # the raised one may be shared with other requests
        except raised() as fault:
            error = GatewayError(FAULT)
            self._complain(fault)
        else:
            return None
        relay = self._plan.relay if self._plan is not None else None
        try:
            async with asyncio.timeout(self._gateway.timeouts.client_stalled_s):
                await self._responder.fail(error, self._surface, relay)
        except TimeoutError:
            self.reply.abort()
        return error

    async def _flow(self) -> None:
        """route -> authenticate -> admit; then a page of core's own, or the rest of the way."""
        gateway, draft, request = self._gateway, self.draft, self._request
        found = self._find()
        found.check(request.method)
        draft.client_request_id = Trace.client_id(request.headers)
        draft.client = client_address(request, gateway.trusted_proxies)
        try:
            draft.caller = gateway.gate.authenticate(
                request.headers, now=self._clock.now(), wall=draft.wall, client=draft.client
            )
        except Pending as pending:
            draft.caller = await pending.caller()
        if self._state.draining:
            raise Draining("this gateway is shutting down; try again")
        if draft.caller.policy.regions is not None:
            self._state.guard_residency(draft.caller)
        await self._bill.admit()
        if isinstance(found, Page):
            await self._page(found)
        else:
            await self._serve_route(found)

    def _find(self) -> Page | Route:
        """The page or route of the path.  From here on errors are in the client's own format."""
        request, draft, table = self._request, self.draft, self._gateway.table
        if request.path not in table.routes:
            self._surface = spoken(self._gateway.surfaces, request.headers)
            if (page := page_of(request.path)) is not None:
                draft.route = page.route
                return page
        route = table.find(request.method, request.path)
        draft.route, self._surface = route.path, route.heard(request.headers)
        return route

    async def _page(self, page: Page) -> None:
        self._responder.watch(None)
        made = page.body(self._gateway, self.draft.caller, self._request)
        body = made if isinstance(made, bytes) else await made
        await self._responder.page({"content-type": "application/json"}, body)

    async def _serve_route(self, route: Route) -> None:
        """body; and what follows only once where the request carries an idempotency key."""
        if carries_key(self._request.headers) and not self.draft.dry:
            headers, keys = self._request.headers, self._state.idempotency
            sdk = "" if self._surface is route.surface else self._surface.name
            self._keyed = keys.request(headers, self.draft, route.path, sdk)
        keyed = self._keyed
        if keyed is None or not await keyed.known():
            await self._bill.check_spent(route.modalities, self._request.content_length)
        body = await self._read(route)
        self._parsed = parse(body)
        self._surface = route.claimed(self._parsed, self._surface)
        if keyed is None:
            await self._serve(route, body)
        elif (kept := await keyed.serve(body, partial(self._serve, route, body))) is not None:
            self.draft.notes["replay_of"] = kept.request_id
            await self._responder.page(replay_headers(kept), kept.body or b"", kept.status)

    async def _serve(self, route: Route, body: Body) -> None:
        """resolve; then as the model that was asked for, or as one that stands in for it."""
        gateway, caller = self._gateway, self.draft.caller
        resolved = gateway.table.resolve(route, body, self._parsed, caller)
        self._trips = trips = Trips(gateway, self.draft, self._bill, resolved)
        chain = gateway.chains.of(resolved.model.name, caller) if gateway.chains.by_model else None
        if chain is None:
            await self._serve_as(trips, route, body)
        else:
            serve = partial(self._serve_along, trips, resolved, route, body)
            await along(chain, self.draft, serve=serve, free=self._free)

    async def _serve_along(
        self,
        trips: Trips,
        asked: Resolved,
        route: Route,
        body: Body,
        model: Model,
        chain: Chain | None,
    ) -> None:
        """As one model of a chain; `chain`: the models that its first call may go to instead."""
        self._bill.take_back()
        trips.chain = chain
        if model is asked.model:
            trips.resolved = asked
        else:
            trips.resolved = structs.replace(asked, model=model, asked=model.name)
        await self._serve_as(trips, route, body)

    def _free(self) -> bool:
        """Whether another model may serve it: nothing was replied, and the request goes on."""
        return not (self.reply.opened or self.reply.gone or self._fed or self._guard.reason)

    async def _serve_as(self, trips: Trips, route: Route, body: Body) -> None:
        """shape -> policies -> reserve -> run, as the model that `trips` is for."""
        modality = trips.resolved.modality
        self._describe(trips.resolved)
        self._deadline(modality.name, NOTHING)
        self._plan = plan = await self._shape(trips, route, body)
        if self._gateway.chains.by_model:
            self._bill.mark()
        else:  # free a long prompt now, and not when its stream has ended
            self._parsed = {}
        size = await self._bill.reserve(plan, modality)
        self._deadline(modality.name, size, stream=plan.relay.head.kind != "whole")
        if self.draft.dry:
            told = describe(self._gateway, self.draft, plan, self._bill.reserved)
            await self._responder.page(DRY_RUN_HEADERS, told)
        else:
            await self._run_plan(plan, trips)

    def _read(self, route: Route) -> Awaitable[Body]:
        self._ingress = Ingress(
            self._request,
            self._guard.now,
            idle_s=self._gateway.timeouts.body_idle_s,
            hold=self._bill.hold,
        )
        return self._ingress.body(route.body, route.at_most, self._scope)

    def _describe(self, resolved: Resolved) -> None:
        draft = self.draft
        draft.modality = resolved.modality.name
        draft.model = resolved.model.name
        draft.demo = resolved.model.demo
        draft.operation = resolved.endpoint.operation or resolved.modality.name
        draft.surface = self._surface.name

    def _deadline(self, modality: str, size: Units, *, stream: bool = False) -> None:
        """Set the request's deadline: the modality's, or the client's wish if that is sooner."""
        seconds = self._gateway.timeouts.seconds(modality, "total", size)
        self.draft.due_s = seconds = as_asked(self._request.headers, seconds, stream=stream)
        self._guard.set(self._began + seconds)

    async def _shape(self, trips: Trips, route: Route, body: Body) -> Plan:
        resolved, began = trips.resolved, self.draft.elapsed()
        request = Request(
            id=self.draft.request_id,
            path=resolved.endpoint.path,
            model=resolved.model,
            asked=resolved.asked,
            body=body,
            surface=self._surface,
            parsed=self._parsed,
            others=partial(self._others, route),
            raw=self.draft.caller.policy.raw_engine_fields,
            isolation=isolation(self.draft.caller.tenant),
        )
        try:
            plan = await shape(
                resolved.endpoint, request, partial(self._answer_need, trips), self._step_ended
            )
        except Unsupported as error:
            raise Refused(None, "unsupported_endpoint", str(error)) from error
        finally:
            self.draft.step("shape", began)
        policies = self._gateway.policies
        if (rules := policies.rules.get(resolved.model.name)) is None:
            return plan
        judge = Judge(policies.targets, self.draft, partial(trips.ask, trusted=True))
        return await judge.check(rules, request, plan)

    def _others(self, route: Route, modality: str) -> tuple[str, ...]:
        visible = self._gateway.table.visible(self.draft.caller, [modality])
        return tuple(model.name for model in visible if model.modality in route.endpoints)

    async def _answer_need(self, trips: Trips, need: Need) -> Json:
        """Do what `shape` asked the core for."""
        match need:
            case Fetch():
                self._gateway.guard_fetch(self.draft.caller)
                return await self._gateway.fetcher.fetch(need, self._scope)
            case Work():
                left_s = max(0.1, self._guard.at - self._guard.now())
                return await self._state.decoders.run(need, self._scope, timeout_s=left_s)
            case Ask():
                return await trips.ask(need)
            case _:
                assert_never(need)

    async def _run_plan(self, plan: Plan, trips: Trips) -> None:
        streamed, self.draft.stream = self.draft.stream, plan.relay.head.kind != "whole"
        if self.draft.stream and not streamed:
            self._bill.hold("streams", 1)
        self._responder.surface = self._surface
        self._responder.watch(plan.relay.head)
        keeper = self._keyed.keeping(self._responder, plan.relay.head) if self._keyed else None
        responder: Responder | KeepingResponder = keeper or self._responder
        run = Run(
            plan,
            trip_of=trips.drawn,
            sink=responder,
            scope=self._scope,
            pool=self._state.heavy_threads,
            draw=self._draw,
            step_ended=self._step_ended,
        )
        self._bill.plan_usage = run.usage
        try:
            await run.go()
        except GatewayError:
            self._fed = run.fed
            raise
        finally:
            self._call_errors += run.errors
        check_abandoned(self.draft, cut_short=run.cut_short)
        await responder.finish(plan.relay, self._bill.units_header())

    def _draw(self, drawn: Drawn, ahead: int) -> Pieces:
        begun = partial(self.draft.step, "decode", self.draft.elapsed())
        return self._state.decoders.draw(drawn, self._scope, ahead=ahead, begun=begun)

    def _extra_headers(self) -> dict[str, str]:
        headers = self._bill.headers(self._surface)
        draft = self.draft
        if draft.demo or draft.notes or len(draft.tries) > 1:
            headers.update(draft.served())
        if (origin := self._request.headers.get("origin")) is not None:
            headers.update(self._gateway.cors.headers(origin, headers))
        return headers
