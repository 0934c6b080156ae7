"""One request, in one direction: from its head to its receipt.

    route -> authenticate -> admit -> body -> resolve -> shape -> reserve -> run -> settle

Whatever happens on the way, `settle` runs exactly once, synchronously, and nothing of the request
is left: no task, no slot, no spool file, no reservation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from aiohttp import web

from modgate.api.body import Body
from modgate.api.json import Json
from modgate.api.need import Ask, Fetch, Work
from modgate.api.plan import Call, Drawn, Plan
from modgate.api.relay import Usage
from modgate.api.request import Request
from modgate.api.surface import Surface
from modgate.catalog import Page, page_of
from modgate.dispatch import Order, guard_model
from modgate.draft import Draft, ending_of
from modgate.errors import (
    Cancelled,
    Draining,
    GatewayError,
    PluginFault,
    Refused,
    Unsupported,
    UpstreamTimedOut,
)
from modgate.gateway import Gateway
from modgate.guard import Deadline
from modgate.http.egress import Reply
from modgate.http.ingress import Ingress, client_address
from modgate.limits.headers import headers as rate_headers
from modgate.limits.limiter import Admission
from modgate.needs import shaped
from modgate.observe.tracing import Trace
from modgate.outlet import Outlet
from modgate.run import Pieces, Run
from modgate.state import State
from modgate.table import Resolved, Route, parse
from modgate.trip import Trip
from modgate.units import NOTHING, Units

log = logging.getLogger(__name__)


class Pipeline:
    """Serves requests from the snapshot of the moment.

    A request keeps the one that it began with.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler for everything that wants a key."""
        exchange = Exchange(self.state, request)
        await exchange.serve()
        return exchange.reply.finish()


class Exchange:
    """One request and its reply."""

    def __init__(self, state: State, request: web.BaseRequest) -> None:
        self._state = state
        self._gateway: Gateway = state.gateway()
        self._request = request
        self._clock = state.clock
        now = self._clock.now()
        self.draft = Draft(
            request_id=state.request_id(),
            trace=Trace.of(request.headers, sample=state.sample),
            now=self._clock.now,
            began=now,
            wall=self._clock.wall(),
            method=request.method,
        )
        loop = asyncio.get_running_loop()
        self.reply = Reply(request, loop.time)
        late = UpstreamTimedOut("the request took longer than its deadline")
        self._guard = Deadline(late)
        self._outlet = Outlet(
            self.reply,
            self.draft,
            guard=self._guard,
            timeouts=self._gateway.timeouts,
            extra=self._extra_headers,
            touch=self._touch,
        )
        self._scope = state.spool.scope(self._charge_spool)
        self._surface: Surface = self._gateway.surfaces["openai"]
        self._admission: Admission | None = None
        self._ingress: Ingress | None = None
        self._resolved: Resolved | None = None
        self._plan: Plan | None = None
        self._run: Run | None = None
        self._asked = NOTHING  # what Ask calls did cost, by full name
        self._asked_exact = True
        self._asked_s: float | None = None
        self._lazy = False

    async def serve(self) -> None:
        """From the first header to the receipt."""
        error: GatewayError | None = None
        self._state.enter(self)
        self.reply.on_gone(partial(self._guard.fire, Cancelled("the client closed the connection")))
        try:
            error = await self._answered()
        finally:
            self._settle(error)
            self._outlet.close()
            self._guard.disarm()
            self._scope.close()
            self._state.leave(self)

    async def _answered(self) -> GatewayError | None:
        try:
            with self._guard:
                await self._flow()
        except GatewayError as raised:
            error = raised
        except asyncio.CancelledError:
            self.reply.abort()
            raise
        except Exception as raised:  # noqa: BLE001  # the request's own border
            error = GatewayError("internal error; the request id helps to find it")
            error.__cause__ = raised
        else:
            return None
        if error.status == 500:
            self._log_fault(error)
        relay = self._plan.relay if self._plan is not None else None
        try:
            async with asyncio.timeout(self._gateway.timeouts.client_stalled_s):
                await self._outlet.fail(error, self._surface, relay)
        except TimeoutError:
            self.reply.abort()
        return error

    def _log_fault(self, error: GatewayError) -> None:
        extra = {"request_id": self.draft.request_id, "trace_id": self.draft.trace.trace_id}
        log.error("fault", extra={**extra, "fault": error.message}, exc_info=error.__cause__)
        error.message = "internal error; the request id helps to find it"

    async def _flow(self) -> None:
        gateway, draft, request = self._gateway, self.draft, self._request
        page = page_of(request.method, request.path)
        route = None if page is not None else gateway.table.find(request.method, request.path)
        draft.route = page.route if page is not None else route.path if route is not None else ""
        if route is not None:
            self._surface = route.surface
        draft.client_request_id = Trace.client_id(request.headers)
        draft.client = client_address(request, gateway.trusted_proxies)
        draft.caller = gateway.keyring.authenticate(request.headers, self._clock.now())
        if self._state.draining:
            raise Draining("this gateway is shutting down; try again")
        self._admission = gateway.limiter.admit(
            draft.caller, now=self._clock.now(), wall=draft.wall
        )
        draft.admitted = True
        if page is not None:
            await self._page(page)
        elif route is not None:
            await self._work(route)

    async def _page(self, page: Page) -> None:
        headers = {"content-type": "application/json", **self._extra_headers()}
        self._outlet.watch(None)
        await self._outlet.page(headers, page.body(self._gateway, self.draft.caller, self._request))

    async def _work(self, route: Route) -> None:
        body = await self._read(route)
        parsed = parse(body)
        self._surface = route.claimed(parsed)
        resolved = self._gateway.table.resolve(route, body, parsed, self.draft.caller)
        self._resolved = resolved
        self._describe(resolved)
        self._deadline("total", NOTHING)
        plan = await self._shape(resolved, route, body)
        self._plan = plan
        self._reserve(plan)
        await self._go(plan, resolved)

    async def _read(self, route: Route) -> Body:
        gateway = self._gateway
        gateway.limiter.check_spent(self._held(), tuple(route.endpoints), now=self._clock.now())
        self._ingress = Ingress(
            self._request, idle_s=gateway.timeouts.body_idle_s, hold=self._charge_body
        )
        return await self._ingress.body(route.body, route.at_most, self._scope)

    def _describe(self, resolved: Resolved) -> None:
        draft = self.draft
        draft.modality = resolved.modality.name
        draft.model = resolved.model.name
        draft.operation = resolved.endpoint.operation or resolved.modality.name
        draft.surface = self._surface.name

    def _deadline(self, phase: str, size: Units) -> None:
        """The request's own end.

        The affine deadline, or what the client asked for if that is sooner.
        """
        assert self._resolved is not None
        seconds = self._gateway.timeouts.seconds(self._resolved.modality.name, phase, size)
        if self._asked_s is None:
            self._asked_s = asked_seconds(self._request.headers)
        left_s = min(seconds, self._asked_s) - self.draft.elapsed()
        self._guard.set(self._guard.now() + left_s)

    async def _shape(self, resolved: Resolved, route: Route, body: Body) -> Plan:
        began = self.draft.elapsed()
        request = Request(
            id=self.draft.request_id,
            path=resolved.endpoint.path,
            model=resolved.model,
            asked=resolved.asked,
            body=body,
            surface=self._surface,
            parsed=resolved.parsed,
            others=partial(self._others, route),
        )
        try:
            return await shaped(
                resolved.endpoint, request, fetch=self._fetch, work=self._worked, ask=self._ask
            )
        except Unsupported as error:
            raise Refused(None, "unsupported_endpoint", str(error)) from error
        finally:
            self.draft.step("shape", began)

    def _others(self, route: Route, modality: str) -> tuple[str, ...]:
        visible = self._gateway.table.visible(self.draft.caller, [modality])
        return tuple(model.name for model in visible if model.modality in route.endpoints)

    async def _fetch(self, need: Fetch) -> Json:
        return await self._gateway.fetcher.fetch(need, self._scope)

    async def _worked(self, need: Work) -> Json:
        left = max(0.1, self._guard.at - self._guard.now())
        return await self._state.decoders.run(need, self._scope, timeout_s=left)

    async def _ask(self, need: Ask) -> Json:
        """Side calls.

        Each reserved by itself, billed by what its modality counts, whatever follows.
        """
        assert self._resolved is not None
        trips = [self._ordered(-1 - n, call) for n, call in enumerate(need.calls)]
        gate = asyncio.Semaphore(max(1, need.width))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._asked_one(trip, gate)) for trip in trips]
        results = [task.result() for task in tasks]
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    async def _asked_one(self, trip: Trip, gate: asyncio.Semaphore) -> Json:
        order = trip.order
        async with gate:
            try:
                self._more(order.call.size.of(order.modality.name))
                events = await trip.next()
                while await trip.next():
                    raise PluginFault("an Ask call answered more than one event")
            except (GatewayError, Unsupported) as error:
                return error
            finally:
                trip.close()
        usage = order.modality.count(order.call, events[0])
        self._asked = Units(self._asked + usage.units.of(order.modality.name).full())
        self._asked_exact = self._asked_exact and usage.exact
        return events[0]

    def _reserve(self, plan: Plan) -> None:
        assert self._resolved is not None
        modality = self._resolved.modality
        units = plan.reserve
        self._lazy = units is not None or not isinstance(plan.calls, tuple | list)
        if units is None:
            if isinstance(plan.calls, Drawn) or not isinstance(plan.calls, tuple | list):
                raise PluginFault("a plan whose calls are drawn lazily must give its reserve")
            units = plan.calls[0].size if plan.calls else NOTHING
            for call in plan.calls[1:]:
                units = units + call.size
        units = units.of(modality.name)
        learned = frozenset(unit.name for unit in modality.units if unit.learned)
        self._gateway.limiter.reserve(
            self._held(), units, model=self.draft.model, learned=learned, now=self._clock.now()
        )
        self._note_reserved(units)
        self._deadline("total", units)
        self._drawn = NOTHING

    def _note_reserved(self, units: Units) -> None:
        reserved = dict(self.draft.reserved)
        for name, count in units.full().items():
            reserved[name] = reserved.get(name, 0) + count
        self.draft.reserved = reserved

    def _more(self, units: Units) -> None:
        """Reserve on top: a call of another model, or sizes beyond the plan's reserve."""
        if units:
            self._gateway.limiter.top_up(self._held(), units, now=self._clock.now())
            self._note_reserved(units)

    def _ordered(self, index: int, call: Call) -> Trip:
        """A call that was drawn, as a trip; what it needs on top is reserved before it goes out."""
        assert self._resolved is not None
        gateway, resolved = self._gateway, self._resolved
        model, modality, asked = resolved.model, resolved.modality, resolved.asked
        if call.model is not None:
            model = guard_model(gateway.table.models.get(call.model), call.model, self.draft.caller)
            modality, asked = gateway.table.modalities[model.modality], model.name
            if index >= 0:
                self._more(call.size.of(modality.name))
        elif index >= 0 and self._lazy:
            self._drawn = self._drawn + call.size
            self._more(self._drawn.beyond(self._reserved_own()).of(modality.name))
        order = Order(
            index=index,
            call=call,
            model=model,
            modality=modality,
            draft=self.draft,
            asked=asked,
            batch=resolved.endpoint.batch if call.model is None else None,
        )
        return Trip(order, gateway.batcher.open, gateway.fleet)

    def _reserved_own(self) -> Mapping[str, int]:
        """What is reserved in the request's own modality, by short name."""
        front = f"{self.draft.modality}."
        return {
            name.removeprefix(front): count
            for name, count in self.draft.reserved.items()
            if name.startswith(front)
        }

    async def _go(self, plan: Plan, resolved: Resolved) -> None:
        self.draft.stream = plan.relay.head.kind != "whole"
        if self.draft.stream:
            self._gateway.limiter.hold(self._held(), "streams", 1)
        self._outlet.surface = self._surface
        self._outlet.watch(plan.relay.head)
        self._run = Run(
            plan,
            order=self._ordered,
            sink=self._outlet,
            scope=self._scope,
            pool=self._state.pool,
            draw=self._draw,
        )
        await self._run.go()
        await self._outlet.finish(plan.relay, self._shown_units())

    def _held(self) -> Admission:
        assert self._admission is not None
        return self._admission

    def _draw(self, drawn: Drawn, ahead: int) -> Pieces:
        return self._state.decoders.draw(drawn, self._scope, ahead=ahead)

    def _charge_body(self, size: int) -> None:
        self._gateway.limiter.hold(self._held(), "body_bytes", size)

    def _charge_spool(self, size: int) -> None:
        if self._admission is not None:
            self._gateway.limiter.hold(self._admission, "spool_bytes", size)

    def _usage(self) -> Usage:
        """What the request did cost so far, by full name: its own calls and the side calls."""
        if self._run is None:
            return Usage(self._asked, self._asked_exact)
        usage = self._run.usage()
        own = usage.units.of(self.draft.modality).full()
        whole = self._asked + own if self._asked else Units(own)
        return Usage(whole, usage.exact and self._asked_exact, usage.by)

    def _touch(self) -> None:
        if self._admission is not None and self._run is not None:
            used = self._usage().units
            self._gateway.limiter.touch(self._admission, used, now=self._clock.now())
            self._state.ledger.touched(self.draft.request_id, used)

    def _shown_units(self) -> str:
        table = self._gateway.units
        rows = [
            f"{table.public(name).partition('.')[2]}={table.units[name].outside(count)}"
            for name, count in self._usage().units.items()
            if name in table.units
        ]
        return ";".join(rows)

    def _extra_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self._admission is not None:
            views = self._gateway.limiter.rates(self._admission, self._clock.now())
            headers.update(rate_headers(views))
        if self._resolved is not None and self._resolved.model.demo:
            headers["x-modgate-demo"] = "true"
        if len(self.draft.tries) > 1:
            headers["x-modgate-attempts"] = str(len(self.draft.tries))
        headers.update(self._gateway.cors.headers(self._request.headers.get("origin")))
        return headers

    def _settle(self, error: GatewayError | None) -> None:
        """The end of the bill.

        The limits, the ledger frame and the receipt, at once and exactly once.
        """
        try:
            usage = self._usage()
        except Exception as raised:  # a plugin's usage must not lose the bill
            log.error("usage failed", extra={"request_id": self.draft.request_id}, exc_info=raised)
            usage = Usage(NOTHING, exact=False, by="estimate")
        ending = ending_of(error)
        units = dict(usage.units)
        if self.draft.modality and self.draft.admitted:
            front = self.draft.modality
            units[f"{front}.requests"] = 1
            units[f"{front}.bytes_in"] = self._ingress.bytes_in if self._ingress else 0
            units[f"{front}.bytes_out"] = self.reply.bytes_out
        receipt = self.draft.receipt(
            ending=ending,
            status=499 if ending == "client_gone" else self.reply.status,
            units=units,
            exact=usage.exact and error is None,
            measured_by=usage.by,
            error=error,
        )
        if self._admission is not None:
            counted = usage.units if usage.by != "estimate" or error is None else None
            self._gateway.limiter.settle(self._admission, counted, now=self._clock.now())
            if self.draft.modality:
                self._state.ledger.ended(receipt)
        self._state.observer.observe(receipt)


def asked_seconds(headers: Mapping[str, str]) -> float:
    """How long the client wants to wait at most, by the headers that say so; else for ever."""
    seconds = float("inf")
    for name in ("x-request-timeout", "x-stainless-read-timeout"):
        wanted = headers.get(name)
        if wanted and wanted.replace(".", "", 1).isdigit() and float(wanted) > 0:
            seconds = min(seconds, float(wanted))
    return seconds
