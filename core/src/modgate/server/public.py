"""The public listener's handler: what needs no key is answered here, all else by the pipeline.

There is no way to register a handler of one's own: every other path goes through the same
authentication, limits and metering, whoever brought its endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable

from aiohttp import web

from modgate.gateway import Gateway
from modgate.http.head import SERVER
from modgate.pages.catalog import GETS, JWKS, OPEN_PATHS, bare
from modgate.pipeline import Exchange
from modgate.state import State

ABOUT = b"modgate: an AI gateway. The API is described at /openapi.json (a key is needed).\n"
JWKS_KEPT_S = 300


class Public:
    """Answers one request."""

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """aiohttp's handler."""
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return self._preflight(request)
        if request.method in GETS and (path := bare(request.path)) in OPEN_PATHS:
            return self._open(path, request.headers.get("origin"))
        return Exchange(self._state, request).serve()

    def _headers(self) -> dict[str, str]:
        made = self._state.request_id()
        return {"x-request-id": made, "request-id": made, "server": SERVER}

    async def _open(self, path: str, origin: str | None) -> web.StreamResponse:
        headers = {**self._headers(), **self._state.gateway().cors.headers(origin)}
        if path == "/":
            return web.Response(body=ABOUT, content_type="text/plain", headers=headers)
        if path == JWKS:
            headers["cache-control"] = f"public, max-age={JWKS_KEPT_S}"
            return web.Response(
                body=self._state.gateway().jwks, content_type="application/json", headers=headers
            )
        ready = path == "/health/live" or self._state.ready()
        body = b'{"status":"ok"}' if ready else b'{"status":"unavailable"}'
        status = 200 if ready else 503
        response = web.Response(
            status=status, body=body, content_type="application/json", headers=headers
        )
        if self._state.draining:
            response.force_close()
        return response

    async def _preflight(self, request: web.BaseRequest) -> web.StreamResponse:
        gateway: Gateway = self._state.gateway()
        asked = request.headers.get("access-control-request-headers", "")
        allowed = gateway.cors.preflight(request.headers.get("origin"), asked)
        headers = {**allowed, **self._headers()}
        return web.Response(status=204 if allowed else 403, headers=headers)
