"""A gateway whose engines are found while it runs: real sockets, a real list and watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from gateways import Running, start

from modgate.testing.backend import FakeBackend, Scripted
from rigs.cluster import ApiServer, Object, endpoint, slice_of

VECTORS = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],'
VECTORS += b'"model":"e","usage":{"prompt_tokens":1,"total_tokens":1}}'
PATH = "/v1/embeddings"


async def engine(stack: AsyncExitStack, pause_s: float = 0.0) -> FakeBackend:
    made = await stack.enter_async_context(FakeBackend())
    made.answer(PATH, Scripted(reply=VECTORS, pause_s=pause_s))
    return made


def at(engine: FakeBackend, uid: str, **conditions: bool) -> Object:
    """An endpoint slice of its own, for engines of one address have ports of their own."""
    parts = urlsplit(engine.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return slice_of(uid, endpoint(parts.hostname, uid=uid, **conditions), port=parts.port)


SECTION = """
[[discover]]
name = "pods"
kind = "{kind}"
serves = {{ vectors = "e" }}
slots = 64
"""
SLO = """
[slo.gold.embedding]
total = { base = "500ms" }
"""


@asynccontextmanager
async def gateway(folder: Path, kind: str, keys: str) -> AsyncIterator[Running]:
    more = SLO + SECTION.format(kind=kind) + keys
    tenants = {"acme": 'slo = "gold"'}
    async with await start(
        folder, [], plugins=("embedding",), tenants=tenants, more=more
    ) as running:
        yield running


def kubernetes(server: ApiServer, token: Path) -> str:
    return (
        f'service = "vllm"\nnamespace = "ml"\nport = "http"\napi = "{server.url}"\n'
        f'token = "{token}"\n'
    )


async def post(running: Running) -> int:
    body = {"model": "vectors", "input": "a"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + PATH, json=body, headers=running.headers) as reply,
    ):
        await reply.read()
        return reply.status


def names(running: Running) -> set[str]:
    return {each.uid.partition(":")[2] for each in running.app.gateway.backends}
