"""The yardstick: a bare aiohttp proxy that keeps connections alive, streams, and does no more.

Run as `python bench/proxy.py PORT ENGINE_URL`.
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

ENGINE = sys.argv[2] if len(sys.argv) > 2 else ""
SESSION = web.AppKey("session", ClientSession)


async def session(app: web.Application):  # type: ignore[no-untyped-def]  # aiohttp's cleanup_ctx
    connector = TCPConnector(limit=0)
    timeout = ClientTimeout(total=None)
    async with ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as client:
        app[SESSION] = client
        yield


async def proxy(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    headers = {"Content-Type": "application/json"}
    url = ENGINE + request.path_qs
    async with request.app[SESSION].request(
        request.method, url, data=body, headers=headers
    ) as upstream:
        kind = {"Content-Type": upstream.headers.get("Content-Type", "")}
        if upstream.content_length is not None:
            return web.Response(status=upstream.status, body=await upstream.read(), headers=kind)
        response = web.StreamResponse(status=upstream.status, headers=kind)
        await response.prepare(request)
        async for data in upstream.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


if __name__ == "__main__":
    uvloop.install()
    app = web.Application(client_max_size=1 << 26)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", proxy)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
