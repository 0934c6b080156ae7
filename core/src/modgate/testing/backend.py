"""A scripted engine on loopback, with faults: what a plugin's end-to-end tests stand on."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson
from aiohttp import web

from modgate.api.json import Json

Fault = Literal["silence", "reset", "half", "garbage"]

GARBAGE = b"<html><body>not \x00 what \xff you asked for</body></html>"
CALLS_AT_MOST = 10_000
BODY_AT_MOST = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """How one call is answered.

    `reply`: bytes = a whole body, a list = pieces, sent as SSE events (`[DONE]` follows) unless
    `content_type` is another.  `pause_s` before the head and before each piece.  `fault`:
    silence  nothing more is sent; the connection stays open until the gateway leaves
    reset    the connection is cut, before `after` pieces are out
    half     half of the reply, then a clean close where more was promised
    garbage  a good status with a body that is no reply
    """

    reply: bytes | Sequence[bytes] = b"{}"
    status: int = 200
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    fault: Fault | None = None
    after: int = 0


@dataclass(slots=True, eq=False, kw_only=True)
class Seen:
    """A call that came.

    `left`: the gateway hung up before the reply was out.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def json(self) -> Json:
        """The body as JSON."""
        return orjson.loads(self.body)


class FakeBackend:
    """An engine that says what it is told to.

    Use it as an async context manager; `url` is where it listens, `calls` is what it was sent.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: deque[Seen] = deque(maxlen=CALLS_AT_MOST)
        self._scripts: dict[str, deque[Scripted]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None

    def answer(self, path: str, *scripted: Scripted) -> None:
        """Answer calls of a path so, one after the other; the last one stays."""
        self._scripts[path] = deque(scripted)

    async def __aenter__(self) -> FakeBackend:
        app = web.Application(client_max_size=BODY_AT_MOST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def _next(self, path: str) -> Scripted | None:
        waiting = self._scripts.get(path)
        if not waiting:
            return Scripted() if path == "/health" else None
        return waiting.popleft() if len(waiting) > 1 else waiting[0]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(path=request.path, headers=request.headers.copy(), body=await request.read())
        if request.path != "/health" and (request.method, request.path) != ("GET", "/metrics"):
            self.calls.append(seen)
        scripted = self._next(request.path)
        if scripted is None:
            return web.json_response({"error": {"message": "not scripted"}}, status=404)
        try:
            return await self._answer(request, scripted)
        except (asyncio.CancelledError, ConnectionError):
            seen.left.set()
            raise

    async def _answer(self, request: web.Request, scripted: Scripted) -> web.StreamResponse:
        await asyncio.sleep(scripted.pause_s)
        if scripted.fault == "garbage":
            return web.Response(body=GARBAGE, content_type="application/json")
        pieces = _pieces(scripted)
        response = web.StreamResponse(status=scripted.status, headers=dict(scripted.headers))
        response.content_type = scripted.content_type or _kind(scripted)
        if isinstance(scripted.reply, bytes):
            response.content_length = sum(map(len, pieces))
        await response.prepare(request)
        await self._send(request, response, pieces, scripted)
        return response

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        pieces: Sequence[bytes],
        scripted: Scripted,
    ) -> None:
        for index, piece in enumerate(pieces):
            if scripted.fault in ("silence", "reset") and index >= scripted.after:
                await self._stop(request, scripted)
            if scripted.fault == "half" and index >= len(pieces) // 2:
                await response.write(piece[: len(piece) // 2])
                _hang_up(request)
                return
            await response.write(piece)
            await asyncio.sleep(scripted.pause_s)
        await response.write_eof()

    async def _stop(self, request: web.Request, scripted: Scripted) -> None:
        """Never come back, or cut the connection."""
        if scripted.fault == "silence":
            await asyncio.Event().wait()  # ended by the gateway, or by the end of the backend
        _hang_up(request)
        raise ConnectionResetError("as scripted")


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _kind(scripted: Scripted) -> str:
    return "application/json" if isinstance(scripted.reply, bytes) else "text/event-stream"


def _pieces(scripted: Scripted) -> list[bytes]:
    if isinstance(scripted.reply, bytes):
        return [scripted.reply]
    if scripted.content_type not in ("", "text/event-stream"):
        return list(scripted.reply)
    return [*(b"data: " + piece + b"\n\n" for piece in scripted.reply), b"data: [DONE]\n\n"]
