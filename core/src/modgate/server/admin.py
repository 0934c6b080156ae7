"""The admin listener: metrics, health in detail, the effective configuration, reload.

Never on the public listener.  Every page says which roles may see it; a page that says
none cannot be written.  Off loopback it wants a key (auth/gate.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from aiohttp import web

from modgate.api.auth import Caller, Role
from modgate.api.json import Json
from modgate.api.select import Backend
from modgate.api.surface import openai_error
from modgate.api.vitals import Load, Signals
from modgate.auth.gate import forbidden
from modgate.auth.verdict import Pending
from modgate.discover.source import Source
from modgate.errors import GatewayError
from modgate.http.head import SERVER
from modgate.http.ingress import client_address
from modgate.http.surfaces import error_headers
from modgate.ledger.shipper import Shipper
from modgate.problems import ConfigError, PluginError
from modgate.server import requests_pages
from modgate.server.beside import beside
from modgate.server.json_page import json_page
from modgate.server.peers import peers_of
from modgate.server.requests_pages import RequestPages
from modgate.server.standings import gone, models_of, pools_of, state_of
from modgate.server.tenancy_pages import TenancyPages, actor_of, method_of, shape_of
from modgate.state import State
from modgate.tracebacks import plain

# Who asks for it; the answer: the sections whose changes wait for a restart.
Reload = Callable[[str], Awaitable[tuple[str, ...]]]
Denied = Callable[[str, str], None]  # tenant, reason
OPERATOR: frozenset[Role] = frozenset({"operator", "admin"})
ADMIN: frozenset[Role] = frozenset({"admin"})
AT_ONCE = 20  # backends of a page, then requests go on


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminPage:
    """A page, and the roles that may ask for it."""

    roles: frozenset[Role]
    answer: Callable[[web.BaseRequest, Caller], Awaitable[web.StreamResponse]]


class Admin:
    """Answers the admin listener's requests."""

    def __init__(
        self,
        state: State,
        reload: Reload,
        tenancy: TenancyPages,
        denied: Denied,
        effective: Callable[[], Sequence[tuple[str, str, str]]],
    ) -> None:
        self._state = state
        self._reload = reload
        self._denied = denied
        self._effective = effective
        requests = RequestPages(state)
        self._pages: Mapping[tuple[str, str], AdminPage] = {
            ("GET", "/metrics"): AdminPage(roles=OPERATOR, answer=self._metrics),
            ("GET", "/health/live"): AdminPage(roles=OPERATOR, answer=self._live),
            ("GET", "/health/ready"): AdminPage(roles=OPERATOR, answer=self._ready),
            ("GET", "/admin/v1/config"): AdminPage(roles=OPERATOR, answer=self._config),
            ("GET", "/admin/v1/backends"): AdminPage(roles=OPERATOR, answer=self._backends),
            ("GET", requests_pages.ALL): AdminPage(roles=OPERATOR, answer=requests.all),
            ("GET", requests_pages.ONE): AdminPage(roles=OPERATOR, answer=requests.one),
            ("POST", "/admin/v1/reload"): AdminPage(roles=ADMIN, answer=self._reloaded),
            **{
                at: AdminPage(roles=OPERATOR if at[0] == "GET" else ADMIN, answer=tenancy.answer)
                for at in tenancy.pages
            },
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler."""
        answer = await self._page(request)
        answer.headers["server"] = SERVER
        return answer

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        """Who is it, is there such a page, may they."""
        try:
            caller = await self._caller(request)
            page = self._pages.get((method_of(request), shape_of(request.path)))
            if page is None:
                return json_page(
                    {"error": "no such admin page", "pages": sorted(self.paths())}, 404
                )
            if caller.role not in page.roles:
                raise forbidden(caller)
        except GatewayError as error:
            return self._refused(error)
        return await page.answer(request, caller)

    async def _caller(self, request: web.BaseRequest) -> Caller:
        state, gateway = self._state, self._state.gateway()
        try:
            return gateway.admin_gate.authenticate(
                request.headers,
                now=state.clock.now(),
                wall=state.clock.wall(),
                client=client_address(request, gateway.trusted_proxies),
            )
        except Pending as pending:
            return await pending.caller()

    def _refused(self, error: GatewayError) -> web.StreamResponse:
        self._denied("", f"admin.{error.code}")
        response = json_page({"error": openai_error(error)}, error.status)
        response.headers.update(error_headers(error))
        return response

    def paths(self) -> list[str]:
        """The pages, as `METHOD path`."""
        return [f"{method} {path}" for method, path in self._pages]

    async def _metrics(self, *_: object) -> web.StreamResponse:
        text = await self._state.observer.rendered()
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=text, headers={"content-type": kind})

    async def _live(self, *_: object) -> web.StreamResponse:
        return json_page({"status": "ok"})

    async def _ready(self, *_: object) -> web.StreamResponse:
        state = self._state
        detail = {
            "ready": state.ready(),
            "draining": state.draining,
            "in_hand": state.live,
            "queued": state.fleet.queued,
            "ledger": _ledger(state),
            "limits": _limits(state),
            "peers": peers_of(state),
            "models": pools_of(state),
            "discovery": {each.configured.name: _found(each) for each in state.members.sources},
            "no_telemetry": dict(state.rounds.unheard),
            "spool": {"bytes": state.spool.used, "files": state.spool.files},
            "engines": {name: asdict(each) for name, each in state.engines.states().items()},
        }
        return json_page(detail, 200 if state.ready() else 503)

    async def _config(self, *_: object) -> web.StreamResponse:
        return await beside(self._shown)

    def _shown(self) -> web.StreamResponse:
        """In a thread: with thousands of tenants it takes a second."""
        rows = [
            {"key": key, "value": value, "origin": origin}
            for key, value, origin in self._effective()
        ]
        return json_page({"effective": rows})

    async def _backends(self, *_: object) -> web.StreamResponse:
        fleet = self._state.gateway().fleet
        now = self._state.clock.now()
        rows = []
        for at, backend in enumerate(fleet.backends.values(), 1):
            if at % AT_ONCE == 0:
                await asyncio.sleep(0)
            slots = self._state.fleet.slots.get(backend.identity)
            rows.append(
                {
                    "name": backend.name,
                    "family": backend.family,
                    "region": backend.region,
                    "serves": dict(backend.serves),
                    "slots": backend.slots,
                    "limit": slots.limit if slots else backend.slots,
                    "taken": slots.taken if slots else 0,
                    "elsewhere": slots.elsewhere if slots else 0,
                    "draining": backend.draining,
                    "telemetry": _telemetry(self._state, backend),
                    "state": state_of(self._state, backend, now),
                    "models": models_of(self._state.fleet, backend, now),
                }
            )
        return json_page(
            {
                "backends": rows,
                "gone": gone(self._state, fleet.backends.values()),
                "peers": peers_of(self._state),
            }
        )

    async def _reloaded(self, _: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        try:
            waiting = await self._reload(actor_of(caller))
        except (ConfigError, PluginError, OSError) as error:
            return json_page({"reloaded": False, "problems": plain(error).splitlines()}, 400)
        return json_page({"reloaded": True, "needs_restart": list(waiting)})


def _ledger(state: State) -> Json:
    """Whether frames are taken, and how full the directory is."""
    ledger = state.ledger
    return {
        "writable": ledger.writable,
        "reason": ledger.refusal,
        "bytes": ledger.kept_bytes,
        "max_bytes": ledger.max_bytes,
        "sinks": {each.name: _sink(each) for each in state.shipping.shippers},
    }


def _sink(shipper: Shipper) -> Json:
    """Whether it takes rows, and what it does not have yet."""
    lag = shipper.lag
    return {
        "up": shipper.up,
        "error": shipper.error,
        "lag_frames": lag.frames,
        "lag_bytes": lag.size_bytes,
        "lag_seconds": round(lag.seconds, 3),
    }


def _telemetry(state: State, backend: Backend) -> Json:
    """How the engine says that it is; what is unknown or too old is null."""
    vitals = state.vitals(backend)
    load, signals = vitals.load or Load(), vitals.signals or Signals()
    return {
        "well": vitals.well,
        "running": load.running,
        "waiting": load.waiting,
        "kv_use": load.kv_use,
        "load_weight": round(vitals.load_weight, 3),
        "gpu_memory": signals.gpu_memory,
        "interconnect": signals.interconnect,
        "temperature": signals.temperature,
        "signals_weight": round(vitals.signals_weight, 3),
    }


def _found(source: Source) -> Json:
    """What a discoverer knows, and since when nothing new."""
    return {"backends": len(source.instances), "stale_seconds": round(source.stale_s, 3)}


def _limits(state: State) -> Json:
    """How tenants' limits are kept: by this gateway alone, at their store, or without it."""
    if state.shared is None:
        return {"kept": "here"}
    kept = "a share here: the store does not answer" if state.shared.down else "at the store"
    return {"kept": kept, "records": state.shared.slices.open}
