"""A gateway whose engines are to be found, and calls that are held until they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
from gateways import Running, receipts_of, start

from modgate.testing.backend import FakeBackend
from rigs.pods import PATH

FOUND = """
[[discover]]
name = "pods"
kind = "{kind}"
serves = {{ vectors = "e" }}
{keys}
"""


class World:
    """A gateway whose engines of `vectors` are named in a file that a test writes anew."""

    def __init__(self, running: Running, path: Path) -> None:
        self.running = running
        self.path = path
        self.receipts = receipts_of(running)

    def name(self, *engines: FakeBackend) -> None:
        """These are the engines from now on."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps([{"url": each.url} for each in engines]))
        fresh.replace(self.path)

    @property
    def held(self) -> int:
        """Calls that are held now."""
        return self.running.app.gateway.fleet.holding.calls["vectors"]

    async def ask(
        self, tenant: str = "acme", text: str = "a", within_s: float | None = None
    ) -> tuple[int, str, float]:
        """Status, error code and seconds of a call; `within_s`: what its client says it waits."""
        key, body = self.running.keys[tenant], {"model": "vectors", "input": text}
        headers, began = {"Authorization": f"Bearer {key}"}, monotonic()
        if within_s is not None:
            headers["x-request-timeout"] = str(within_s)
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.running.url + PATH, json=body, headers=headers) as reply,
        ):
            said = await reply.json()
        error = said.get("error") or {}
        return reply.status, str(error.get("code", "")), monotonic() - began


@asynccontextmanager
async def world(
    folder: Path, queue: str, *, tenants: dict[str, str] | None = None, more: str = ""
) -> AsyncIterator[World]:
    path = folder / "engines.json"
    path.write_text("[]")
    section = FOUND.format(kind="file", keys=f'path = "{path}"')
    async with await start(
        folder,
        [],
        plugins=("embedding",),
        tenants=tenants,
        more=f"[queue]\n{queue}\n{section}{more}",
    ) as running:
        yield World(running, path)
