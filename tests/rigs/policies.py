"""A gateway with an llm, an embedding model and policies, over one scripted engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from toys.rulings import HOUSE

from modgate.ledger.reader import rows
from modgate.ledger.records import Ended

ASKS = '[policy.guard]\nkind = "asks"\nmodel = "vectors"\n'


@asynccontextmanager
async def house(
    folder: Path,
    engine: ScriptedEngine,
    policies: str,
    *,
    tenant: str = "",
    backends: tuple[Mapping[str, object], ...] = ({},),
) -> AsyncIterator[Running]:
    """A gateway with an llm, an embedding model, and these policies."""
    made = [{"url": engine.url, **each} for each in backends]
    async with await start(
        folder,
        made,
        tenants={"acme": tenant},
        plugins=("llm", "embedding", "house"),
        extra={"house": HOUSE},
        more=policies,
    ) as running:
        yield running


async def chat(running: Running, **more: object) -> ClientRecord:
    stream = bool(more.pop("stream", False))
    request = ask.chat(1, model="chat", max_tokens=5, stream=stream, **more)
    return await send(running.url, request, key=running.key)


def error(client: ClientRecord) -> dict[str, object]:
    found: dict[str, object] = json.loads(client.body)["error"]
    return found


def billed(running: Running) -> Ended:
    [row] = rows(running.ledger)
    return row


def units(row: Ended) -> dict[str, int]:
    """What of a bill a modality counts; the request and its bytes are every request's."""
    usual = ("requests", "bytes_in", "bytes_out")
    return {name: n for name, n in row.units.items() if name.partition(".")[2] not in usual}


def paths(engine: ScriptedEngine) -> list[str]:
    return [record.path for record in engine.records]
