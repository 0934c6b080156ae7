"""One request, in one direction: from its head to its receipt.

    route -> authenticate -> admit -> body -> resolve -> serving.py -> settle

Whatever happens on the way, the bill is settled exactly once, synchronously, and nothing of the
request is left: no task, no slot, no spool file, no reservation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial

from aiohttp import web

from modgate.api.body import Body
from modgate.api.json import JsonObject
from modgate.api.request import Request
from modgate.api.surface import Surface
from modgate.auth.verdict import Pending
from modgate.bill import Bill
from modgate.disconnect import abandon, client_left
from modgate.draft import Draft
from modgate.errors import Draining, GatewayError
from modgate.faults import raised
from modgate.gateway import Gateway
from modgate.guard import Deadline
from modgate.http.egress import Reply
from modgate.http.ingress import Ingress, client_address
from modgate.http.surfaces import spoken
from modgate.idempotency import KeyedRequest, carries_key, replay_headers
from modgate.isolation import isolation
from modgate.observe.tracing import Trace
from modgate.pages.catalog import OPEN_PATHS, Page, bare, not_got, page_of
from modgate.reply_watch import ReplyWatch
from modgate.responder import Responder
from modgate.served_headers import served_headers
from modgate.serving import Serving
from modgate.state import State
from modgate.table import Resolved, Route, parse
from modgate.timeouts import too_long
from modgate.tracebacks import let_go
from modgate.trips import Trips

NO_QUERY: Mapping[str, str] = {}
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
        self._guard = Deadline(partial(_over, self.draft))
        self.reply = Reply(request, self._guard.now, leaving=lambda: state.draining)
        self._bill = Bill(state, self._gateway, self.draft)
        self._scope = state.spool.scope(partial(self._bill.hold, "spool_bytes"))
        timeouts, touch = self._gateway.timeouts, self._bill.touch
        self._responder = Responder(
            self.reply,
            self.draft,
            watch=ReplyWatch(self.reply, guard=self._guard, timeouts=timeouts, touch=touch),
            extra=self._extra_headers,
            discarded_at_most=timeouts.drained_bytes,
        )
        # what it learns of the request on its way; errors are told in the format of the surface
        self._surface: Surface = self._gateway.surfaces["openai"]
        self._ingress: Ingress | None = None
        self._parsed: JsonObject = {}
        self._keyed: KeyedRequest | None = None
        self._serving: Serving | None = None

    async def serve(self) -> web.StreamResponse:
        """From the first header to the receipt; returns what aiohttp's handler must return."""
        error: GatewayError | None = None
        self._state.enter(self)
        self.reply.on_gone(self._client_left)
        try:
            error = await self._replied()
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
            errors = self._serving.trips.errors if self._serving is not None else ()
            let_go([error, self._guard.reason, *errors])
        return self.reply.finish()

    def _client_left(self) -> None:
        resolved = self._serving.trips.resolved if self._serving is not None else None
        if not abandon(self.draft, resolved):
            self._guard.fire(client_left())

    def cut(self) -> None:
        """End the request, because the gateway waits no longer; the client is told if possible."""
        self._guard.fire(Draining("this gateway is shutting down; try again"))

    async def _replied(self) -> GatewayError | None:
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
        relay = self._serving.relay if self._serving is not None else None
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
            await self._with_body(found)

    def _find(self) -> Page | Route:
        """The page or route of the path.  From here on errors are in the client's own format."""
        request, draft, table = self._request, self.draft, self._gateway.table
        if request.path not in table.routes:
            self._surface = spoken(self._gateway.surfaces, request.headers)
            if (page := page_of(request.path)) is not None:
                draft.route = page.route
                return page
            if (path := bare(request.path)) in OPEN_PATHS:  # a GET has been answered
                raise not_got(path)
        route = table.find(request.method, request.path)
        draft.route, self._surface = route.path, route.heard(request.headers)
        return route

    async def _page(self, page: Page) -> None:
        self._responder.watch(self._surface)
        made = page.body(self._gateway, self.draft.caller, self._request)
        body = made if isinstance(made, bytes) else await made
        await self._responder.page({"content-type": "application/json"}, body)

    async def _with_body(self, route: Route) -> None:
        """body, resolve; and what follows only once where it carries an idempotency key."""
        headers, draft, table = self._request.headers, self.draft, self._gateway.table
        early = table.named(route, draft.named, draft.caller) if draft.named else None
        if carries_key(headers) and not draft.dry:
            sdk = "" if self._surface is route.surface else self._surface.name
            keys, query = self._state.idempotency, self._request.rel_url.raw_query_string
            self._keyed = keys.request(headers, draft, route.path, sdk, query)
        keyed = self._keyed
        if keyed is None or not await keyed.known():
            await self._check_spent(route, early)
        body = await self._read(route, early.endpoint.at_most if early else route.at_most)
        draft.heard_s = draft.elapsed()
        self._parsed = parse(body)
        self._surface = route.claimed(self._parsed, self._surface)
        # also before a reply is told again: whoever may not use the model is not told it
        resolved = table.resolve(route, body, self._parsed, draft.caller, early)
        if keyed is None:
            await self._as_model(route, body, resolved)
            return
        rights = self._gateway.rights(draft.caller, resolved.model.name)
        work = partial(self._as_model, route, body, resolved)
        if (kept := await keyed.serve(body, work, rights)) is not None:
            draft.notes["replay_of"] = kept.request_id
            self._responder.watch(self._surface)
            await self._responder.page(replay_headers(kept), kept.body or b"", kept.status)

    def _check_spent(self, route: Route, early: Resolved | None) -> Awaitable[None]:
        check, length = self._bill.check_spent, self._request.content_length
        if early is None:
            return check(route.modalities, length)
        return check((early.modality.name,), length, early.model.name)

    def _read(self, route: Route, at_most: int) -> Awaitable[Body]:
        self._ingress = Ingress(
            self._request,
            self._guard.now,
            idle_s=self._gateway.timeouts.body_idle_s,
            hold=self._bill.hold,
        )
        return self._ingress.body(route.body, at_most, self._scope)

    def _as_model(self, route: Route, body: Body, resolved: Resolved) -> Awaitable[None]:
        """All that follows from the model."""
        gateway, draft = self._gateway, self.draft
        request = Request(
            id=draft.request_id,
            path=resolved.endpoint.path,
            model=resolved.model,
            asked=resolved.asked,
            body=body,
            surface=self._surface,
            parsed=self._parsed,
            query=dict(self._request.query) if self._request.query_string else NO_QUERY,
            others=partial(gateway.table.others, route, draft.caller),
            raw=draft.caller.policy.raw_engine_fields,
            isolation=isolation(draft.caller.tenant),
        )
        self._parsed = {}  # its new owner frees it: it may be long
        self._serving = Serving(
            state=self._state,
            gateway=gateway,
            draft=draft,
            bill=self._bill,
            guard=self._guard,
            scope=self._scope,
            responder=self._responder,
            request=request,
            keyed=self._keyed,
            trips=Trips(gateway, draft, self._bill, resolved),
        )
        return self._serving.go()

    def _complain(self, fault: BaseException) -> None:
        self._state.complaints.fault(self._gateway, self.draft, fault)

    def _extra_headers(self) -> dict[str, str]:
        headers = self._bill.headers(self._surface)
        draft = self.draft
        if draft.demo or draft.notes or len(draft.tries) > 1:
            headers.update(served_headers(draft))
        if (origin := self._request.headers.get("origin")) is not None:
            headers.update(self._gateway.cors.headers(origin, headers))
        return headers


def _over(draft: Draft) -> GatewayError:
    """What ends a request whose time is over; while a call waits, no engine was late."""
    late = next(iter(draft.waits.values()), too_long)
    return late()
