"""An engine that thinks, and asks a tool for the weather of two cities; and a gateway before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from conversing import chunk
from gateways import Running, start

from modgate.plugin import JsonObject
from modgate.testing import FakeBackend, Scripted

CHAT = "/v1/chat/completions"
USAGE: JsonObject = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
CITIES = ("Paris", "Rome")


def arguments(city: str) -> str:
    return orjson.dumps({"city": city}).decode()


def _call(index: int, **function: str) -> JsonObject:
    begins = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, **begins, "function": function}]}


STREAM = (
    chunk({"role": "assistant", "content": None}),
    chunk({"reasoning_content": "Look "}),
    chunk({"reasoning_content": "twice."}),
    *(
        piece
        for index, city in enumerate(CITIES)
        for piece in (
            chunk(_call(index, name="weather", arguments="")),
            chunk(_call(index, arguments=arguments(city)[:6])),
            chunk(_call(index, arguments=arguments(city)[6:])),
        )
    ),
    chunk({}, "tool_calls"),
    chunk(None, usage=USAGE),
)
MESSAGE: JsonObject = {
    "role": "assistant",
    "content": None,
    "reasoning_content": "Look twice.",
    "tool_calls": [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": "weather", "arguments": arguments(city)},
        }
        for index, city in enumerate(CITIES)
    ],
}


@asynccontextmanager
async def serving(
    folder: Path, *answers: Scripted, section: str = "", more: str = ""
) -> AsyncIterator[tuple[Running, FakeBackend]]:
    """A gateway over an engine that answers chats so."""
    async with FakeBackend() as engine:
        engine.answer(CHAT, *answers)
        backend = {"url": engine.url, "serves": {"chat": "engine-chat"}}
        async with await start(
            folder,
            [backend],
            plugins=["llm"],
            models={"chat": "llm"},
            tenants={"acme": section},
            more=more,
        ) as running:
            yield running, engine
