"""Two gateways of one process that tell each other: what waits here, and what a reload leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Script
from servers import redis
from waiting import until

NEVER = Script(headers_after_ms=60_000)
HELD_TOKENS = 400
QUICK = ask.chat(9, model="chat", max_tokens=5)
SLOTS = 4
SOON_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Two:
    """Gateways before one engine, and a spare one that a reload may add; what holds their slots."""

    one: Running
    two: Running
    engine: ScriptedEngine
    spare: ScriptedEngine
    held: list[asyncio.Task[object]]

    async def hold(self, running: Running, calls: int) -> list[asyncio.Task[object]]:
        """So many calls that the engine never answers."""
        tag = len(self.held) + 100
        request = ask.chat(tag, model="chat", max_tokens=HELD_TOKENS)
        made: list[asyncio.Task[object]] = [
            asyncio.create_task(send(running.url, request, key=running.key)) for _ in range(calls)
        ]
        self.held.extend(made)
        await self.engine.reached(tag, calls=calls)
        return made

    def elsewhere(self, running: Running) -> dict[str, int]:
        """By engine what others have in hand."""
        return {
            backend.name: running.app.state.fleet.slots[backend.identity].elsewhere
            for backend in running.app.gateway.backends
        }


async def let_go(calls: list[asyncio.Task[object]]) -> None:
    """Their clients leave."""
    for each in calls:
        each.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(redis(tmp_path))
        engine, spare = [await stack.enter_async_context(ScriptedEngine()) for _ in range(2)]
        engine.script_for = lambda r: NEVER if r.asked.json["max_tokens"] == HELD_TOKENS else OK
        (tmp_path / "secret").write_text("a secret of this cell\n")
        running = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            made = await start(
                folder,
                [{"url": engine.url, "slots": SLOTS}],
                plugins=("llm",),
                more=f'[peers]\nurl = "{store.url}"\n'
                f'secret = {{ file = "{tmp_path / "secret"}" }}\n',
            )
            stack.push_async_callback(made.app.close)
            running.append(made)
        held: list[asyncio.Task[object]] = []
        yield Two(one=running[0], two=running[1], engine=engine, spare=spare, held=held)
        await let_go(held)


async def test_a_place_that_another_gateway_gives_back_goes_to_a_call_that_waits_here(
    two: Two,
) -> None:
    calls = await two.hold(two.one, SLOTS)
    await until(lambda: two.elsewhere(two.two) == {"b0": SLOTS})
    await two.hold(two.two, SLOTS // 2)  # its share of the engine, which is full
    waiting = asyncio.create_task(send(two.two.url, QUICK, key=two.two.key))
    await until(lambda: two.two.app.state.fleet.queued == 1)
    await let_go(calls)
    client = await asyncio.wait_for(waiting, SOON_S)

    assert client.status == 200


async def test_a_gateway_that_fills_an_engine_keeps_nobody_from_it(two: Two) -> None:
    await two.hold(two.one, SLOTS)
    await until(lambda: two.elsewhere(two.two) == {"b0": SLOTS})
    client = await asyncio.wait_for(send(two.two.url, QUICK, key=two.two.key), SOON_S)

    assert client.status == 200


async def test_reloads_leave_what_others_have_in_hand_as_they_told(two: Two) -> None:
    written = two.two.config.read_text()
    await two.hold(two.one, 2)
    await until(lambda: two.elsewhere(two.two) == {"b0": 2})
    [slots] = two.two.app.state.fleet.slots.values()
    more = f'[[backend]]\nname = "b1"\nurl = "{two.spare.url}"\nserves = {{ chat = "e" }}\n'

    two.two.config.write_text(written + more)
    await two.two.app.reload()
    assert two.elsewhere(two.two) == {"b0": 2, "b1": 0}
    assert not two.two.app.gateway.fleet.pools["chat"].exact

    two.two.config.write_text((written + more).replace(two.engine.url, "http://127.0.0.1:9"))
    await two.two.app.reload()
    assert two.elsewhere(two.two) == {"b0": 0, "b1": 0}
    assert slots.elsewhere == 0

    two.two.config.write_text(written)
    await two.two.app.reload()
    assert two.elsewhere(two.two) == {"b0": 2}
