"""A small HTTP app for a local engine: synchronous model functions behind a unix socket.

Model calls run one at a time in a thread, so the socket stays responsive while a model computes.  A
stream's generator is closed when the gateway hangs up, which is how a cancelled request stops a
model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import orjson
from aiohttp import BodyPartReader, MultipartReader, web

from modgate.plugin import GatewayError, Json, JsonObject, Refused

log = logging.getLogger(__name__)

BODY_AT_MOST = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What the gateway sent.

    `fields` of the JSON object or the form's text, and the form's files.
    """

    fields: JsonObject
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunked:
    """A reply that is sent as it is made; `size_bytes`: of all pieces, where that is known."""

    content_type: str
    pieces: Iterator[bytes]
    size_bytes: int | None = None


Answer = Callable[[Incoming], "Json | Chunked"]


def serve(path: str, routes: Mapping[str, Answer]) -> None:
    """Serve POST routes on the unix socket `path` until the process ends; `/health` answers 200."""
    server = _Serving(routes)
    app = web.Application(client_max_size=BODY_AT_MOST)
    app.router.add_get("/health", server.health)
    for route in routes:
        app.router.add_post(route, server.handle)
    web.run_app(app, path=path, print=None, access_log=None, handle_signals=True)


class _Serving:
    def __init__(self, routes: Mapping[str, Answer]) -> None:
        self._routes = routes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Alive: the socket answers only after the model was loaded."""
        del request
        return web.json_response({"status": "ok"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        loop = asyncio.get_running_loop()
        try:
            incoming = await _incoming(request)
            answer = self._routes[request.path]
            reply = await loop.run_in_executor(self._thread, answer, incoming)
        except GatewayError as error:
            return _error(error.status, error.message, error.field)
        except Exception:  # the border: a model's failure is an engine's 500
            log.exception("the model failed")
            return _error(500, "the model failed", None)
        if isinstance(reply, Chunked):
            return await self._stream(request, reply)
        return web.Response(body=orjson.dumps(reply), content_type="application/json")

    async def _stream(self, request: web.Request, reply: Chunked) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        response = web.StreamResponse(headers={"content-type": reply.content_type})
        response.content_length = reply.size_bytes
        await response.prepare(request)
        try:
            while True:
                piece = await loop.run_in_executor(self._thread, next, reply.pieces, None)
                if piece is None:
                    break
                await response.write(piece)
            await response.write_eof()
        finally:
            close = getattr(reply.pieces, "close", None)
            if close is not None:
                await loop.run_in_executor(self._thread, close)
        return response


async def _incoming(request: web.Request) -> Incoming:
    if request.content_type != "multipart/form-data":
        try:
            fields = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            raise Refused(None, "invalid_json", "the body is not valid JSON") from None
        if not isinstance(fields, dict):
            raise Refused(None, "invalid_type", "the body must be a JSON object")
        return Incoming(fields=fields)
    fields, files = {}, {}
    reader = MultipartReader(request.headers, request.content)
    while (part := await reader.next()) is not None:
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        if part.filename is not None:
            files[part.name or ""] = data
        elif (name := part.name or "").endswith("[]"):
            fields.setdefault(name[:-2], []).append(data.decode())
        else:
            fields[name] = data.decode()
    return Incoming(fields=fields, files=files)


def _error(status: int, message: str, field_name: str | None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": field_name, "code": None}
    return web.Response(
        status=status, body=orjson.dumps({"error": error}), content_type="application/json"
    )
