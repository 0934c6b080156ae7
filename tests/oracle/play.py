"""Playing planned endings against a gateway: clients that leave when the engine got so far."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.mix import Mix, Planned

SETTLE_S = 0.02
REACH_S = 15.0


async def play(
    planned: Planned,
    url: str,
    engines: Sequence[ScriptedEngine],
    *,
    key: str | None = None,
) -> ClientRecord:
    """Send one planned request; its client leaves as planned, wherever the call went."""
    leave = planned.leave
    if leave is None or leave.at != "sent":
        return await send(url, planned.request, key=key, leave=leave)
    go = asyncio.Event()
    watching = asyncio.create_task(_watch(planned, engines, go))
    try:
        return await send(url, planned.request, key=key, leave=leave, go=go)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(planned: Planned, engines: Sequence[ScriptedEngine], go: asyncio.Event) -> None:
    """Set `go` a moment after the calls got as far as planned; if they never do, all the same."""
    calls = [
        asyncio.create_task(
            engine.reached(planned.tag, planned.reached, calls=planned.calls, within_s=REACH_S)
        )
        for engine in engines
    ]
    try:
        waiting = set(calls)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if any(task.exception() is None for task in done):
                break
        await asyncio.sleep(SETTLE_S)
        go.set()
    finally:
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def play_mix(
    mix: Mix,
    url: str,
    engines: Sequence[ScriptedEngine],
    *,
    keys: Sequence[str] = (),
    width: int = 16,
    rest_s: float = 0.0,
) -> list[ClientRecord]:
    """Play a whole mix: `width` at a time, then, one by one, those that kill an engine.

    `keys`: taken in turn by tag.  `rest_s`: after an engine came back, for the gateway to find out.
    """
    many = asyncio.Semaphore(width)

    async def one(planned: Planned) -> ClientRecord:
        key = keys[planned.tag % len(keys)] if keys else None
        async with many:
            return await play(planned, url, engines, key=key)

    together = [planned for planned in mix.planned.values() if not planned.alone]
    alone = [planned for planned in mix.planned.values() if planned.alone]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(planned)) for planned in together]
    records = [task.result() for task in tasks]
    for planned in alone:
        records.append(await one(planned))
        for engine in engines:
            if not engine.alive:
                await engine.restart()
        await asyncio.sleep(rest_s)
    return records
