"""A gateway before scripted engines, and an operator who asks what led to its replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from click.testing import CliRunner
from gateways import MODELS, Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Script
from oracle.record import Record
from oracle.requests import ClientRequest

from modgate.cli import main

TARGET = '[slo.gold.llm]\nfirst_byte = { base = "100ms" }\ntotal = { base = "100ms" }\n'
GOLD = {"acme": 'slo = "gold"'}
CHAT = ask.chat(1, model="chat")
UNKNOWN = f"req_{0:032x}"


class World:
    """A gateway before engines of these scripts, and an operator who asks."""

    def __init__(self, running: Running, engines: Sequence[ScriptedEngine]) -> None:
        self.running = running
        self.engines = engines

    async def sent(self, request: ClientRequest = CHAT, key: str = "") -> ClientRecord:
        return await send(self.running.url, request, key=key or self.running.key)

    async def page(self, path: str) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.running.admin}/admin/v1/requests{path}") as reply,
        ):
            return reply.status, await reply.json()

    async def explained(self, client: ClientRecord) -> Any:
        status, told = await self.page(f"/{client.request_id}")
        assert status == 200, told
        assert told["id"] == client.request_id
        return told

    async def command(self, *words: str) -> tuple[int, str]:
        return await asyncio.to_thread(invoked, *words, "--url", self.running.admin)


def invoked(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["explain", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


Make = Callable[..., Awaitable[World]]


@asynccontextmanager
async def worlds(folder: Path) -> AsyncIterator[Make]:
    """Makes a gateway that lives until the test ends."""
    async with AsyncExitStack() as stack:

        async def make(
            *scripts: Script | Callable[[Record], Script],
            tenants: dict[str, str] | None = None,
            more: str = TARGET,
            models: dict[str, str] | None = None,
            plugins: Sequence[str] = tuple(MODELS.values()),
            facts: dict[str, str] | None = None,
            serves: Sequence[dict[str, str]] = (),
            **backend: object,
        ) -> World:
            engines = [
                await stack.enter_async_context(
                    ScriptedEngine(each if callable(each) else lambda _, each=each: each)
                )
                for each in scripts
            ]
            running = await start(
                folder,
                [
                    {"url": each.url, **backend, "serves": serves[at] if serves else None}
                    for at, each in enumerate(engines)
                ],
                tenants=tenants or GOLD,
                more=more,
                models=models,
                plugins=plugins,
                facts=facts,
            )
            stack.push_async_callback(running.app.close)
            return World(running, engines)

        yield make
