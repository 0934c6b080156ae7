"""Two gateway processes before the same engines, which tell each other over a real Redis."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from clients.serving import Served, serving
from gateways import configuration
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Script
from servers import Server, redis

from modgate.api.json import Json

HELD_TOKENS, HELD, QUICK = 4000, 1, 2
LONG = "words that take long to read " * 1500
HOLDS = ask.chat(HELD, model="chat", stream=True, text=LONG, max_tokens=HELD_TOKENS)
ASKS = ask.chat(QUICK, model="chat", stream=True, max_tokens=5)
SLOWER, NEVER = Script(headers_after_ms=400), Script(headers_after_ms=60_000)
LEARNING, CALLS = 6, 8
WITHIN_S, LOOK_S = 15.0, 0.02
FORGOTTEN_S = 1.25 + 0.35  # and our own looking, on a machine that is busy with other tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Two:
    """Gateway `a` may use the engine `near` only; `b` may use both, and finds `near` the faster."""

    a: Served
    b: Served
    near: ScriptedEngine
    far: ScriptedEngine
    store: Server

    async def ask(self) -> None:
        """A short call by `b`."""
        client = await send(self.b.root, ASKS, key=self.b.key)
        assert client.status == 200

    async def asked(self) -> tuple[int, int]:
        """How many of some short calls, one after the other, went near, and how many far."""
        engines = (self.near, self.far)
        before = [len(engine.of(QUICK)) for engine in engines]
        for _ in range(CALLS):
            await self.ask()
        near, far = (len(engine.of(QUICK)) for engine in engines)
        return near - before[0], far - before[1]

    async def prefers_near(self) -> bool:
        """Whether the faster engine is known to be faster."""
        return await self.asked() == (CALLS, 0)

    async def view(self) -> dict[str, Json]:
        """What `b` shows of the view, and of what is elsewhere in hand near."""
        shown = json.loads(await page(self.b, "/admin/v1/backends"))
        [near] = [each for each in shown["backends"] if each["name"] == "b0"]
        model = near["models"]["chat"]
        return {
            "view": shown["peers"]["view"],
            "heard_of": len(shown["peers"]["heard_of"]),
            "exact": shown["peers"]["exact"]["chat"],
            "calls": near["elsewhere"],
            "work": model["work_elsewhere"] > 0,
        }


async def page(served: Served, path: str) -> str:
    """An admin page."""
    async with aiohttp.ClientSession() as session, session.get(served.admin + path) as reply:
        return await reply.text()


async def until(is_so: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not await is_so():
        assert time.monotonic() - began < WITHIN_S
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(redis(tmp_path))
        near, far = [await stack.enter_async_context(ScriptedEngine()) for _ in range(2)]
        near.script_for = lambda r: NEVER if r.asked.json.get("max_tokens") == HELD_TOKENS else OK
        far.script_for = lambda record: SLOWER
        (tmp_path / "secret").write_text("a secret of this cell\n")
        more = (
            f'[peers]\nurl = "{store.url}"\nsecret = {{ file = "{tmp_path / "secret"}" }}\n'
            '[slo.gold.llm]\nfirst_byte = { base = "600ms" }\n'
        )
        served = []
        for name, section in (("a", 'regions = ["eu"]'), ("b", 'slo = "gold"')):
            own = tmp_path / name
            own.mkdir()
            path, keys = configuration(
                own,
                [{"url": near.url, "region": "eu"}, {"url": far.url, "region": "us"}],
                tenants={"acme": section},
                plugins=("llm",),
                more=more,
            )
            served.append(stack.enter_context(serving(own, path, key=keys["acme"])))
        yield Two(a=served[0], b=served[1], near=near, far=far, store=store)


@pytest.mark.slow
async def test_a_gateway_avoids_what_another_loads_and_forgets_it_when_that_is_killed(
    two: Two,
) -> None:
    async def sees(calls: int) -> bool:
        shown = await two.view()
        return (shown["calls"], shown["work"]) == (calls, calls > 0)

    for _ in range(LEARNING):  # side by side, so that both engines are tried
        await asyncio.gather(*(two.ask() for _ in range(CALLS)))
    await until(two.prefers_near)
    holding = [asyncio.create_task(send(two.a.root, HOLDS, key=two.a.key)) for _ in range(CALLS)]
    await two.near.reached(HELD, calls=CALLS)
    await until(lambda: sees(CALLS))
    avoided = await two.asked()
    two.a.process.kill()
    took_s = await until(lambda: sees(0))
    await until(two.prefers_near)
    await asyncio.gather(*holding)

    assert avoided == (0, CALLS)
    assert took_s <= FORGOTTEN_S


@pytest.mark.slow
async def test_with_redis_hanging_both_serve_on_with_samples_and_say_so(two: Two) -> None:
    async def sees(view: str, heard_of: int) -> bool:
        shown = await two.view()
        return (shown["view"], shown["heard_of"], shown["exact"]) == (view, heard_of, False)

    await until(lambda: sees("up", 1))
    two.store.pause()
    lost_s = await until(lambda: sees("lost", 0))
    began = time.monotonic()
    await two.asked()
    client = await send(two.a.root, ask.chat(3, model="chat"), key=two.a.key)
    took_s = time.monotonic() - began
    metrics = await page(two.b, "/metrics")
    ready = json.loads(await page(two.b, "/health/ready"))
    two.store.go_on()
    await until(lambda: sees("up", 1))
    back = await page(two.b, "/metrics")

    assert lost_s < 2.0
    assert client.status == 200
    assert took_s < 2 * CALLS
    assert "\nmodgate_peer_view_up 0\n" in metrics
    assert (ready["ready"], ready["peers"]["view"]) == (True, "lost")
    assert "\nmodgate_peer_view_up 1\n" in back
    assert "\nmodgate_peers 1\n" in back
    said = [line for line in two.b.output.read_text().splitlines() if "peer view" in line]
    assert [json.loads(line)["event"] for line in said] == ["peer view lost"]
