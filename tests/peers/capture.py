"""Golden transcripts of llama.cpp's own server, captured while it really runs.

    ./dev python tests/peers/capture.py

Needs the runtime and the demo model of the llm plugin.  The calls below are encoded by the dialect,
sent to the server's unix socket, and written down with the bytes that came back and with what the
dialect made of them, which is to be read before it is committed.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from modgate.plugin import Body, Call, Json, JsonObject, Served
from modgate.testing.replay import Got, heard
from modgate.testing.transcript import Said
from modgate_llm.dialects import LlmLlamaCpp
from modgate_llm.engine import SmolLm

COMMAND = "./dev python tests/peers/capture.py"
FOLDER = Path(__file__).parents[2] / "plugins/llm/tests/transcripts/llamacpp"
SERVED = Served(asked="m", model="m", name=SmolLm.model)
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
READY_S = 60.0
HEADERS = ("content-type", "retry-after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call to be captured."""

    name: str
    body: JsonObject
    path: str = CHAT
    stream: bool = False

    @property
    def call(self) -> Call:
        """In the home wire."""
        reply = "sse" if self.stream else "whole"
        return Call(path=self.path, body=Body.of(**self.body), reply=reply)


def _chat(text: str, **more: Json) -> JsonObject:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "seed": 1,
        **more,
    }


_STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CALLS = (
    Asked(name="whole", body=_chat("Say hello.", max_tokens=4)),
    Asked(name="stream", body=_chat("Say hello.", max_tokens=4, **_STREAM), stream=True),
    Asked(name="two-choices", body=_chat("Say hello.", max_tokens=2, n=2, **_STREAM), stream=True),
    Asked(
        name="completion",
        path=COMPLETIONS,
        body={"model": "m", "prompt": "One, two,", "max_tokens": 3, "temperature": 0},
    ),
    Asked(name="tokenize-chat", path="/tokenize", body={"messages": _chat("Say hi.")["messages"]}),
    Asked(name="tokenize-text", path="/tokenize", body={"prompt": "One, two,"}),
    Asked(name="context", body=_chat("word " * 2500, max_tokens=4, **_STREAM), stream=True),
    Asked(
        name="refused-format",
        body=_chat("Say hello.", max_tokens=4, response_format={"type": "yaml"}),
    ),
)


async def capture() -> None:
    """Start the server, ask, write, stop."""
    data = Path(os.environ.get("MODGATE_DATA", Path.home() / ".local/share/modgate"))
    with tempfile.TemporaryDirectory(prefix="mg") as folder:
        socket = f"{folder}/e.sock"
        engine = multiprocessing.get_context("spawn").Process(
            target=serve, args=(data, socket), daemon=True
        )
        engine.start()
        connector = aiohttp.UnixConnector(path=socket)
        try:
            async with aiohttp.ClientSession("http://local", connector=connector) as session:
                await _ready(session)
                version = ""
                for asked in CALLS:
                    said = await _said(session, asked)
                    found = re.search(rb'"system_fingerprint":"([^"]+)"', said.body)
                    version = found[1].decode() if found else version
                    _write(asked, said, version)
        finally:
            engine.kill()


def serve(data: Path, socket: str) -> None:
    """The server's process."""
    SmolLm(data, threads=2).serve(socket)


async def _ready(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            try:
                async with session.get("/health") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def _said(session: aiohttp.ClientSession, asked: Asked) -> Said:
    outgoing = LlmLlamaCpp(asked.call, SERVED).encode()
    sent = {"Content-Type": "application/json", **outgoing.headers}
    content = outgoing.body.content
    async with session.post(outgoing.path, data=content, headers=sent) as response:
        headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
        return Said(status=response.status, headers=headers, body=await response.read())


def _write(asked: Asked, said: Said, version: str) -> None:
    outgoing = LlmLlamaCpp(asked.call, SERVED).encode()
    got = heard(LlmLlamaCpp(asked.call, SERVED), outgoing, said, lambda data: [data])
    runtime = importlib.metadata.version("xllamacpp")
    content = outgoing.body.content
    assert isinstance(content, bytes)
    lines = [
        'provenance = "captured"',
        'engine = "llama.cpp server"',
        f'version = "{version} (xllamacpp {runtime})"',
        f"date = {datetime.datetime.now(tz=datetime.UTC).date()}",
        f'command = "{COMMAND}"',
        "[model]",
        f'served = "{SERVED.name}"',
        "[call]",
        f'path = "{asked.path}"',
        *(['reply = "sse"'] if asked.stream else []),
        f"json = {_quoted(json.dumps(asked.body))}",
        "[request]",
        f'path = "{outgoing.path}"',
        *([f"headers = {_table(outgoing.headers)}"] if outgoing.headers else []),
        f"json = {_quoted(content.decode())}",
        "[reply]",
        f"status = {said.status}",
        f"headers = {_table(said.headers)}",
        f"body = {_quoted(said.body.decode())}",
        "[gives]",
        *_given(got),
    ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{asked.name}.toml").write_text("\n".join(lines) + "\n")
    print(f"{asked.name}: {said.status}, {len(said.body)} bytes, {len(got.events)} events")


def _given(got: Got) -> list[str]:
    if got.error is not None:
        field = f'field = "{got.error.field}", ' if got.error.field else ""
        front = f'status = {got.error.status}, code = "{got.error.code}", {field}'
        return [f"error = {{ {front}message = {json.dumps(got.error.message)} }}"]
    return ["events = [", *(f"    {_quoted(data.decode())}," for data in got.events), "]"]


def _quoted(text: str) -> str:
    if "'" not in text and "\n" not in text:
        return f"'{text}'"
    if "'''" in text or "\r" in text or text.endswith("'"):
        return json.dumps(text)
    return f"'''\n{text}'''"


def _table(headers: Mapping[str, str]) -> str:
    inside = ", ".join(f"{name} = {json.dumps(value)}" for name, value in headers.items())
    return f"{{ {inside} }}"


if __name__ == "__main__":
    asyncio.run(capture())
