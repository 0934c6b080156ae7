"""Every ending of every modality, billed as client, engine and ledger counted it by themselves.

The table is `oracle.matrix`, the rule `oracle.compare`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from gateways import MODELS, Running, start
from oracle.client import ClientRecord, send
from oracle.compare import LedgerRow, cases, compare
from oracle.engine import ScriptedEngine
from oracle.matrix import CELLS, ENDINGS, FORMS, IMPOSSIBLE, Cell, Ending, cell, trace_of
from oracle.mix import Planned
from oracle.play import play
from oracle.record import Record
from oracle.words import MODALITIES, Modality
from rigs.ledger import compared

from modgate.ledger.reader import rows

NAMES = {modality: name for name, modality in MODELS.items()}
# A second process would be started for one file: that takes longer than to wait for the first.
MORE = "[timeouts]\nidle = '10s'\n[decoders]\nprocesses = 1\nstreams = 1\n"
FACTS = {NAMES["rerank"]: "pairs = true"}
QUEUED_S = 0.25  # until whoever shall wait for a slot does
PATIENCE_S = (0.6, 2.0, 8.0)  # of who shall run out of time: more where that was too soon

pytestmark = pytest.mark.usefixtures("nothing_waits_for_the_collector")


def named(clients: list[ClientRecord], running: Running) -> list[ClientRecord]:
    """The clients, also those that left too soon to hear their request's id."""
    ids = {row.trace_id: row.id for row in rows(running.ledger)}
    return [
        client
        if client.request_id is not None
        else replace(client, request_id=ids.get(trace_of(client.tag)))
        for client in clients
    ]


async def played(made: Cell, running: Running, engines: list[ScriptedEngine]) -> list[ClientRecord]:
    """Play the requests of a cell, behind its holder where it has one."""
    if made.alone:
        return [await killed(one, running, engines[0]) for one in made.planned]
    if made.holder is not None:
        return await behind(made, running, engines[0])
    sent = (play(one, running.url, engines, key=running.key) for one in made.planned)
    return await asyncio.gather(*sent)


async def killed(one: Planned, running: Running, engine: ScriptedEngine) -> ClientRecord:
    """A request that takes the engine down, which then comes back."""
    client = await play(one, running.url, [engine], key=running.key)
    assert not engine.alive
    await engine.restart()
    await asyncio.sleep(0.1)
    return client


async def behind(made: Cell, running: Running, engine: ScriptedEngine) -> list[ClientRecord]:
    """The requests of a cell while one slot is taken: they leave the queue, or share a trip."""
    assert made.holder is not None
    holding = asyncio.create_task(play(made.holder, running.url, [engine], key=running.key))
    await engine.reached(made.holder.tag, "headers")
    if made.ending == "dropped":
        sent = [play(one, running.url, [engine], key=running.key) for one in made.planned]
        return [*await asyncio.gather(*sent), await holding]
    go = asyncio.Event()
    waiting = [
        asyncio.create_task(send(running.url, one.request, key=running.key, leave=one.leave, go=go))
        for one in made.planned
    ]
    await asyncio.sleep(QUEUED_S)
    assert len(engine.records) == 1
    go.set()
    return [*await asyncio.gather(*waiting), await holding]


async def seen(
    made: Cell, folder: Path
) -> tuple[list[Record], list[ClientRecord], list[LedgerRow]]:
    """A cell as its engines, its clients and the ledger saw it."""
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(ScriptedEngine(made.script_for))
            for _ in range(made.engines)
        ]
        family = "vllm" if made.modality == "rerank" else "home"  # ranks several searches at once
        backends = [{"url": each.url, "slots": made.slots, "family": family} for each in engines]
        async with await start(
            folder, backends, plugins=[made.modality], facts=FACTS, more=MORE
        ) as running:
            clients = await played(made, running, engines)
        calls = [record for each in engines for record in each.records]
    return calls, named(clients, running), compared(rows(running.ledger))


def came_too_soon(made: Cell, calls: list[Record]) -> bool:
    """Whether a request ran out of time before an engine was silent, as it is on a busy machine."""
    silent = {tag for call in calls if call.broken_by == "silence" for tag in call.tags}
    return made.ending.startswith("timeout") and silent != {one.tag for one in made.planned}


@pytest.mark.parametrize(("modality", "ending"), CELLS, ids=[f"{m}-{e}" for m, e in CELLS])
async def test_client_engine_and_ledger_agree_on(
    tmp_path: Path, modality: Modality, ending: Ending
) -> None:
    for patience_s in PATIENCE_S:
        made, folder = (
            cell(modality, ending, NAMES[modality], patience_s),
            tmp_path / f"{patience_s}",
        )
        folder.mkdir()
        calls, clients, frames = await seen(made, folder)
        if not came_too_soon(made, calls):
            break
    found = {case.client.tag: case for case in cases(calls, clients, frames)}

    assert compare(calls, clients, frames) == []
    assert found.keys() == made.expected.keys()
    for tag, expected in made.expected.items():
        assert found[tag].ending in expected.evidence, (tag, clients, frames)
        told = [row["outcome"] for row in found[tag].rows]
        assert told == ([expected.outcome] if expected.outcome else []), (tag, clients, frames)
    if ending.startswith("retried"):
        assert all(len(case.calls) >= 2 for case in found.values())
    if ending == "dropped":
        assert {len(found[tag].calls[-1].tags) for tag in (0, 1, 2)} == {3}


def test_every_cell_is_played_or_says_why_not() -> None:
    every = {(modality, ending) for modality in MODALITIES for ending in ENDINGS}

    assert {*CELLS} | {*IMPOSSIBLE} == every
    assert not {*CELLS} & {*IMPOSSIBLE}
    assert all(IMPOSSIBLE.values())
    assert set(FORMS) == set(MODALITIES)
