"""The admin listener: metrics, health in detail, the effective configuration, reload.

Never on the public listener.  Off loopback it wants `[admin] key` (as a Bearer token).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.api.surface import dump
from modgate.errors import ConfigError, PluginError, plain
from modgate.state import State

# The answer: the sections whose changes wait for a restart.
Reload = Callable[[], Awaitable[tuple[str, ...]]]
Page = Callable[[], Awaitable[web.StreamResponse]]


class Admin:
    """Answers the admin listener's requests.  `key` None = the listener is on loopback."""

    def __init__(self, state: State, reload: Reload, key: Secret | None) -> None:
        self._state = state
        self._reload = reload
        self._key = key
        self._pages: Mapping[tuple[str, str], Page] = {
            ("GET", "/metrics"): self._metrics,
            ("GET", "/health/live"): self._live,
            ("GET", "/health/ready"): self._ready,
            ("GET", "/admin/v1/config"): self._config,
            ("GET", "/admin/v1/backends"): self._backends,
            ("POST", "/admin/v1/reload"): self._reloaded,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler."""
        if not self._may(request):
            return _json({"error": "a valid admin key is needed"}, 401)
        page = self._pages.get((request.method, request.path))
        if page is None:
            return _json({"error": "no such admin page", "pages": sorted(self.paths())}, 404)
        return await page()

    def paths(self) -> list[str]:
        """The pages, as `METHOD path`."""
        return [f"{method} {path}" for method, path in self._pages]

    def _may(self, request: web.BaseRequest) -> bool:
        if self._key is None:
            return True
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self._key.reveal().encode())

    async def _metrics(self) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(None, self._state.observer.render)
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=text, headers={"content-type": kind})

    async def _live(self) -> web.StreamResponse:
        return _json({"status": "ok"})

    async def _ready(self) -> web.StreamResponse:
        state = self._state
        detail = {
            "ready": state.ready(),
            "draining": state.draining,
            "in_hand": state.live,
            "queued": state.fleet.queued,
            "ledger": {"writable": state.ledger.writable},
            "limits": _limits(state),
            "spool": {"bytes": state.spool.used, "files": state.spool.files},
            "engines": {name: vars_of(e) for name, e in state.engines.states().items()},
        }
        return _json(detail, 200 if state.ready() else 503)

    async def _config(self) -> web.StreamResponse:
        rows = [
            {"key": key, "value": value, "origin": origin}
            for key, value, origin in self._state.gateway().effective
        ]
        return _json({"effective": rows})

    async def _backends(self) -> web.StreamResponse:
        fleet = self._state.gateway().fleet
        rows = []
        for backend in fleet.backends.values():
            slots = self._state.fleet.slots.get(backend.identity)
            rows.append(
                {
                    "name": backend.name,
                    "family": backend.family,
                    "region": backend.region,
                    "serves": dict(backend.serves),
                    "slots": backend.slots,
                    "taken": slots.taken if slots else 0,
                }
            )
        return _json({"backends": rows})

    async def _reloaded(self) -> web.StreamResponse:
        try:
            waiting = await self._reload()
        except (ConfigError, PluginError, OSError) as error:
            return _json({"reloaded": False, "problems": plain(error).splitlines()}, 400)
        return _json({"reloaded": True, "needs_restart": list(waiting)})


def _limits(state: State) -> Json:
    """How tenants' limits are kept: by this gateway alone, at their store, or without it."""
    if state.shared is None:
        return {"kept": "here"}
    kept = "a share here: the store does not answer" if state.shared.down else "at the store"
    return {"kept": kept, "records": state.shared.slices.open}


def vars_of(engine: object) -> Json:
    """A frozen value's fields, for a page."""
    slots: tuple[str, ...] = getattr(engine, "__slots__", ())
    return {name: getattr(engine, name) for name in slots}


def _json(value: Json, status: int = 200) -> web.Response:
    return web.Response(status=status, body=dump(value), content_type="application/json")
