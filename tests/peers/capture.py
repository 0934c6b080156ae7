"""Golden transcripts of llama.cpp's own server, captured while it really runs.

    ./dev python tests/peers/capture.py

Needs the runtime and the demo model of the llm plugin.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import re
from dataclasses import dataclass
from pathlib import Path

from written import Server, asked_of, on_a_socket, write

from modgate.plugin import Body, Call, Json, JsonObject, Served
from modgate_llm.dialects import LlmLlamaCpp
from modgate_llm.engine import SmolLm

COMMAND = "./dev python tests/peers/capture.py"
FOLDER = Path(__file__).parents[2] / "plugins/llm/tests/transcripts/llamacpp"
SERVED = Served(asked="m", model="m", name=SmolLm.model)
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call to be captured."""

    name: str
    body: JsonObject
    path: str = CHAT
    stream: bool = False

    def dialect(self) -> LlmLlamaCpp:
        """For one attempt of the call."""
        reply = "sse" if self.stream else "whole"
        return LlmLlamaCpp(Call(path=self.path, body=Body.of(**self.body), reply=reply), SERVED)


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
    runtime, version = importlib.metadata.version("xllamacpp"), ""
    async with on_a_socket(serve, data) as session:
        for asked in CALLS:
            said = await asked_of(session, asked.dialect())
            found = re.search(rb'"system_fingerprint":"([^"]+)"', said.body)
            version = found[1].decode() if found else version
            server = Server(
                engine="llama.cpp server",
                version=f"{version} (xllamacpp {runtime})",
                command=COMMAND,
            )
            write(FOLDER / f"{asked.name}.toml", asked.body, asked.dialect, said, server)


def serve(socket: str, data: Path) -> None:
    """The server's process."""
    SmolLm(data, threads=2).serve(socket)


if __name__ == "__main__":
    asyncio.run(capture())
