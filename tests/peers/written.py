"""One exchange with a real server, written down as a transcript: what the captures share.

A call is encoded by its dialect and sent as it is; the bytes that come back go into the file with
what the dialect makes of them, which is to be read before it is committed.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import multiprocessing
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from modgate.plugin import Dialect, JsonObject
from modgate.testing.replay import Got, heard
from modgate.testing.transcript import Said

READY_S = 60.0
HEADERS = ("content-type", "retry-after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What answered: its name and version, and by which command it was asked."""

    engine: str
    version: str
    command: str


@asynccontextmanager
async def on_a_socket(
    serve: Callable[..., None], *more: object
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with `serve(socket, *more)`, which runs in a process of its own."""
    with TemporaryDirectory(prefix="mg") as folder:
        socket = f"{folder}/e.sock"
        engine = multiprocessing.get_context("spawn").Process(
            target=serve, args=(socket, *more), daemon=True
        )
        engine.start()
        connector = aiohttp.UnixConnector(path=socket)
        try:
            async with aiohttp.ClientSession("http://local", connector=connector) as session:
                await ready(session)
                yield session
        finally:
            engine.kill()


async def ready(session: aiohttp.ClientSession) -> None:
    """Once the server answers 200."""
    async with asyncio.timeout(READY_S):
        while True:
            try:
                async with session.get("/health") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def asked_of(session: aiohttp.ClientSession, dialect: Dialect) -> Said:
    """What the server says to the dialect's call."""
    outgoing = dialect.encode()
    sent = {"Content-Type": "application/json", **outgoing.headers}
    content = outgoing.body.content
    async with session.post(outgoing.path, data=content, headers=sent) as response:
        headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
        return Said(status=response.status, headers=headers, body=await response.read())


def write(
    file: Path,
    body: JsonObject,
    made: Callable[[], Dialect],
    said: Said,
    server: Server,
    *,
    why: str = "",
) -> None:
    """The transcript of one exchange.

    `body`: the call's, as the client wrote it.  `made`: a dialect for one attempt of it.  `why` is
    a line in front.
    """
    dialect = made()
    call, served, outgoing = dialect.call, dialect.served, dialect.encode()
    got = heard(made(), outgoing, said, lambda data: [data])
    content = outgoing.body.content
    assert isinstance(content, bytes)
    sound = call.reply == "chunked" and got.error is None
    lines = [
        *([f"# {why}"] if why else []),
        'provenance = "captured"',
        f'engine = "{server.engine}"',
        f'version = "{server.version}"',
        f"date = {datetime.datetime.now(tz=datetime.UTC).date()}",
        f'command = "{server.command}"',
        "[model]",
        *([f'asked = "{served.asked}"'] if why else []),
        f'served = "{served.name}"',
        "[call]",
        f'path = "{call.path}"',
        *([f'reply = "{call.reply}"'] if call.reply != "whole" else []),
        f"json = {_quoted(json.dumps(body))}",
        "[request]",
        f'path = "{outgoing.path}"',
        *([f"headers = {_table(outgoing.headers)}"] if outgoing.headers else []),
        f"json = {_quoted(content.decode())}",
        "[reply]",
        f"status = {said.status}",
        f"headers = {_table(said.headers)}",
        f'base64 = "{_base64(said.body)}"' if sound else f"body = {_quoted(said.body.decode())}",
        "[gives]",
        *([f'base64 = "{_base64(b"".join(got.events))}"'] if sound else _given(got)),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    print(f"{file}: {said.status}, {len(said.body)} bytes, {len(got.events)} events")


def _given(got: Got) -> list[str]:
    if got.error is not None:
        field = f'field = "{got.error.field}", ' if got.error.field else ""
        front = f'status = {got.error.status}, code = "{got.error.code}", {field}'
        return [f"error = {{ {front}message = {json.dumps(got.error.message)} }}"]
    return ["events = [", *(f"    {_quoted(data.decode())}," for data in got.events), "]"]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _quoted(text: str) -> str:
    if "'" not in text and "\n" not in text:
        return f"'{text}'"
    if "'''" in text or "\r" in text or text.endswith("'"):
        return json.dumps(text)
    return f"'''\n{text}'''"


def _table(headers: Mapping[str, str]) -> str:
    inside = ", ".join(f"{name} = {json.dumps(value)}" for name, value in headers.items())
    return f"{{ {inside} }}"
