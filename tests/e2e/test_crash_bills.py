"""What the ledger knows of a request that runs is enough to bill it as what it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from gateways import start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import always
from oracle.faults import Script

from modgate.ledger.frames import Kind
from modgate.ledger.records import Opened, crashed
from modgate.ledger.segments import frames_of, segments
from modgate.plugin import Receipt

CLASS = '[slo.batch.llm]\ntotal = { base = "1h" }\n'


def open_frames(ledger: Path) -> list[Opened]:
    return [
        msgspec.msgpack.decode(frame.payload, type=Opened)
        for path in segments(ledger).values()
        for _, frame in frames_of(path, None)
        if frame.kind is Kind.OPEN
    ]


async def test_a_request_that_a_crash_cuts_is_priced_as_of_its_beginning_and_by_its_class(
    tmp_path: Path,
) -> None:
    ended: list[Receipt] = []
    async with always(Script(gated=True, gated_calls=True)) as engine:
        running = await start(
            tmp_path, [{"url": engine.url}], tenants={"acme": 'slo = "batch"'}, more=CLASS
        )
        running.app.state.observer.also(ended.append)
        try:
            request = ask.chat(1, model="chat", stream=True)
            client = asyncio.create_task(send(running.url, request, key=running.key, within_s=9))
            await engine.reached(1)
            [opened] = open_frames(running.ledger)
        finally:
            client.cancel()
            await running.app.close()
    cut = crashed(opened, None, opened.wall)

    assert (cut.wall, cut.slo, cut.model) == (ended[0].wall, "batch", ended[0].model)
