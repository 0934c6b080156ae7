"""Calls of models whose engines are away, or not there yet: held until one is ready.

Source: field.md row 28.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from gateways import start
from rigs.held_calls import FOUND, World, world
from rigs.pods import PATH, SLO, VECTORS, engine
from rigs.unhurried import UnhurriedLoop, unhurried
from servers import free_port
from waiting import until

from modgate.fleet import holding

LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}


async def test_a_call_of_a_model_without_engines_is_held_until_one_is_found(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(world(tmp_path, 'hold = "20s"'))
        asked = [asyncio.ensure_future(made.ask()) for _ in range(3)]
        await until(lambda: made.held == 3, 5)
        metrics = (await made.running.app.state.observer.rendered()).decode()
        made.name(await engine(stack))
        answers = await asyncio.gather(*asked)

    assert 'modgate_pool_held_calls{model="vectors"} 3\n' in metrics
    [offered] = re.findall(r'modgate_pool_offered_units_total\{model="vectors"\} (\S+)', metrics)
    assert float(offered) > 0  # what wakes an engine
    assert [status for status, _, _ in answers] == [200] * 3
    assert made.held == 0
    for receipt in made.receipts:
        assert "queue" in [step.name for step in receipt.steps]


async def test_one_that_is_held_in_vain_is_told_so_and_billed_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, 'hold = "300ms"') as made:
        status, code, seconds = await made.ask()
        held = made.held

    assert (status, code, held) == (503, "no_healthy_upstream", 0)
    assert seconds > 0.29
    assert not made.receipts[0].units.get("embedding.input_tokens")


@pytest.mark.parametrize("slo", ["", "gold"])
async def test_nobody_is_held_longer_than_he_or_his_class_waits(tmp_path: Path, slo: str) -> None:
    tenants = {"acme": 'slo = "gold"' if slo else ""}
    queue, promised = 'hold = "60s"\npatience = { gold = "200ms" }', SLO
    async with world(tmp_path, queue, tenants=tenants, more=promised) as made:
        headers = made.running.headers if slo else made.running.headers | {"x-request-timeout": "1"}
        body = {"model": "vectors", "input": "a"}
        async with (
            asyncio.timeout(10),
            aiohttp.ClientSession() as session,
            session.post(made.running.url + PATH, json=body, headers=headers) as reply,
        ):
            said = await reply.json()

    assert (reply.status, said["error"]["code"]) == (503, "no_healthy_upstream")


@pytest.mark.parametrize("late_s", [0.025, 0.5, 2.0])
def test_who_was_held_to_his_deadline_is_told_so_where_the_loop_is_late(
    tmp_path: Path, late_s: float
) -> None:
    async def held(loop: UnhurriedLoop) -> tuple[int, str, float]:
        async with world(tmp_path, 'hold = "60s"') as made:
            asked = asyncio.create_task(made.ask(within_s=1.0))
            await until(lambda: made.held == 1)
            loop.stall(1.0 + late_s)
            return await asked

    status, code, _ = unhurried(held)

    assert (status, code) == (503, "no_healthy_upstream")


async def test_a_client_that_leaves_is_held_no_longer(tmp_path: Path) -> None:
    async with world(tmp_path, 'hold = "60s"') as made:
        asked = asyncio.ensure_future(made.ask())
        await until(lambda: made.held == 1, 5)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        await until(lambda: made.held == 0, 5)
        await until(lambda: bool(made.receipts), 5)

    assert made.receipts[0].ending == "client_gone"


async def test_where_no_engine_that_may_come_would_do_the_call_is_refused_at_once(
    tmp_path: Path,
) -> None:
    keys = 'host = "nowhere.invalid"\nport = 1\nregion = "us"\n'
    found = FOUND.format(kind="dns", keys=keys).replace("pods", "abroad")
    async with await start(
        tmp_path,
        [{"url": "http://127.0.0.1:1", "region": "eu", "serves": {"other": "e"}}],
        plugins=("embedding",),
        models={"vectors": "embedding", "other": "embedding"},
        tenants={"acme": "", "here": 'regions = ["eu"]'},
        more=f'[queue]\nhold = "60s"\n[state]\nregion = "eu"\n{found}',
    ) as running:
        made = World(running, tmp_path)
        async with asyncio.timeout(10):
            kept_here = await made.ask("here")
        anywhere = asyncio.ensure_future(made.ask("acme"))
        await until(lambda: made.held == 1, 5)
        anywhere.cancel()
        with suppress(asyncio.CancelledError):
            await anywhere

    assert kept_here[:2] == (503, "no_healthy_upstream")


async def test_a_call_for_a_region_is_held_for_what_may_say_itself_where_it_stands(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        found = await engine(stack)
        tenants = {"acme": 'regions = ["us"]'}
        made = await stack.enter_async_context(world(tmp_path, 'hold = "20s"', tenants=tenants))
        asked = asyncio.ensure_future(made.ask())
        await until(lambda: made.held == 1, 5)
        made.path.write_text(json.dumps([{"url": found.url, "region": "eu"}]))
        await until(lambda: len(made.running.app.gateway.backends) == 1)
        held = made.held
        made.path.write_text(json.dumps([{"url": found.url, "region": "us"}]))
        status, _, _ = await asked

    assert (status, held) == (200, 1)


async def test_no_more_are_held_than_may_wait_and_no_tenant_has_all_places(tmp_path: Path) -> None:
    tenants = {"acme": "", "quiet": ""}
    async with AsyncExitStack() as stack:
        queue = 'hold = "20s"\ncalls = 4'
        made = await stack.enter_async_context(world(tmp_path, queue, tenants=tenants))
        flood = [asyncio.ensure_future(made.ask()) for _ in range(5)]
        await until(lambda: sum(each.done() for each in flood) == 3, 5)
        quiet = [asyncio.ensure_future(made.ask("quiet")) for _ in range(2)]
        await until(lambda: made.held == 4, 5)
        made.name(await engine(stack))
        answers = [await asyncio.gather(*each) for each in (flood, quiet)]

    statuses = [sorted(status for status, _, _ in each) for each in answers]
    assert statuses == [[200, 200, 503, 503, 503], [200, 200]]


async def test_no_more_bytes_of_bodies_are_held_than_may_wait(tmp_path: Path) -> None:
    async with world(tmp_path, 'hold = "20s"\nbody_bytes = "1KiB"') as made:
        held = asyncio.ensure_future(made.ask(text="a" * 700))
        await until(lambda: made.held == 1, 5)
        async with asyncio.timeout(10):
            status, code, _ = await made.ask(text="a" * 700)
        held.cancel()

    assert (status, code) == (503, "no_healthy_upstream")


@asynccontextmanager
async def listening(port: int, answer: Callable[[], web.Response]) -> AsyncIterator[None]:
    """An engine at a port that a configuration names."""

    async def answered(_: web.Request) -> web.Response:
        return answer()

    app = web.Application()
    app.router.add_post(PATH, answered)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def vectors() -> web.Response:
    return web.Response(body=VECTORS, content_type="application/json")


async def test_a_call_is_held_while_its_engine_loads_the_model(tmp_path: Path) -> None:
    port, said = free_port(), 0

    def answer() -> web.Response:
        nonlocal said
        said += 1
        return vectors() if said > 4 else web.json_response(LOADING, status=503)

    backend = {"url": f"http://127.0.0.1:{port}", "family": "llamacpp"}
    queue = '[queue]\nhold = "20s"\n'
    async with await start(tmp_path, [backend], plugins=("embedding",), more=queue) as running:
        made = World(running, tmp_path)
        async with listening(port, answer):
            status, _, _ = await made.ask()
            metrics = (await running.app.state.observer.rendered()).decode()

    assert (status, said) == (200, 5)
    pattern = r'modgate_pool_(?:offered|served)_units_total\{model="vectors"\} (\S+)'
    offered, served = re.findall(pattern, metrics)
    assert offered == served  # a call is asked for once, however often it is tried
    [receipt] = made.receipts
    assert [step.name for step in receipt.steps].count("queue") == 4  # a wait, and no work of ours


@asynccontextmanager
async def loads(folder: Path, loaded: Callable[[], bool], more: str = "") -> AsyncIterator[World]:
    """A gateway whose one engine says that it loads its model until `loaded`."""

    def answer() -> web.Response:
        return vectors() if loaded() else web.json_response(LOADING, status=503)

    port = free_port()
    backend = {"url": f"http://127.0.0.1:{port}", "family": "llamacpp"}
    queue = f'[queue]\nhold = "30s"\n{more}\n'
    async with (
        await start(folder, [backend], plugins=("embedding",), more=queue) as running,
        listening(port, answer),
    ):
        yield World(running, folder)


async def test_however_many_wait_for_a_model_to_load_one_asks_and_all_go_when_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "ASKED_EVERY_S", 1.0)
    loaded = False
    async with loads(tmp_path, lambda: loaded) as made:
        asked = [asyncio.ensure_future(made.ask()) for _ in range(20)]
        await until(lambda: made.held == 20)
        loaded = True
        answers = await asyncio.gather(*asked)

    assert [status for status, _, _ in answers] == [200] * 20
    assert [len(receipt.attempts) for receipt in made.receipts] == [2] * 20


@pytest.mark.parametrize("late_s", [0.025, 0.5, 2.0])
def test_who_waited_for_a_model_to_load_is_told_so_where_the_loop_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    monkeypatch.setattr(holding, "ASKED_EVERY_S", 0.9)

    async def waited(loop: UnhurriedLoop) -> tuple[int, str, float]:
        async with loads(tmp_path, bool) as made:
            asked = asyncio.create_task(made.ask(within_s=1.0))
            await until(lambda: made.held == 1)
            loop.stall(1.0 + late_s)
            return await asked

    status, code, _ = unhurried(waited)

    assert (status, code) == (503, "model_loading")


async def test_no_more_wait_for_a_model_to_load_than_may(tmp_path: Path) -> None:
    loaded = False
    async with loads(tmp_path, lambda: loaded, "calls = 4") as made:
        asked = [asyncio.ensure_future(made.ask()) for _ in range(6)]
        await until(lambda: sum(each.done() for each in asked) == 4)
        loaded = True
        answers = sorted([answer[:2] for answer in await asyncio.gather(*asked)])

    assert answers == [(200, "")] * 2 + [(503, "model_loading")] * 4


async def test_one_that_nobody_can_reach_is_told_at_once(tmp_path: Path) -> None:
    backend = {"url": f"http://127.0.0.1:{free_port()}"}
    queue = '[queue]\nhold = "60s"\n'
    async with await start(tmp_path, [backend], plugins=("embedding",), more=queue) as running:
        made = World(running, tmp_path)
        async with asyncio.timeout(10):
            status, code, _ = await made.ask()

    assert (status, code) == (502, "upstream_error")


async def test_a_model_that_another_one_stands_in_for_is_not_waited_for(tmp_path: Path) -> None:
    fallback = 'space = "one"\ndimensions = 1\n'
    path = tmp_path / "engines.json"
    path.write_text("[]")
    section = FOUND.format(kind="file", keys=f'path = "{path}"')
    async with AsyncExitStack() as stack:
        small = await engine(stack)
        running = await start(
            tmp_path,
            [{"url": small.url, "serves": {"small": "e"}}],
            plugins=("embedding",),
            models={"vectors": "embedding", "small": "embedding"},
            facts={"vectors": fallback + 'fallback = ["small"]', "small": fallback},
            tenants={"acme": "fallback = true"},
            more=f'[queue]\nhold = "60s"\n{section}',
        )
        stack.push_async_callback(running.app.close)
        made = World(running, tmp_path)
        async with asyncio.timeout(10):
            status, _, _ = await made.ask()

    assert (status, made.receipts[0].model) == (200, "small")


async def test_engines_that_answer_others_wake_nobody_who_may_not_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "ASKED_EVERY_S", 60.0)
    here, abroad, loaded, said = free_port(), free_port(), False, 0
    loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}

    def answer() -> web.Response:
        nonlocal said
        said += 1
        return vectors() if loaded else web.json_response(loading, status=503)

    backends = [
        {"url": f"http://127.0.0.1:{port}", "family": "llamacpp", "region": region}
        for port, region in ((here, "eu"), (abroad, "us"))
    ]
    tenants = {"acme": 'regions = ["us"]', "other": 'regions = ["eu"]'}
    queue = '[queue]\nhold = "30s"\n'
    async with await start(
        tmp_path, backends, plugins=("embedding",), tenants=tenants, more=queue
    ) as running:
        made = World(running, tmp_path)
        async with listening(here, vectors), listening(abroad, answer):
            held = asyncio.ensure_future(made.ask())
            await until(lambda: made.held == 1)
            others = [(await made.ask("other"))[0] for _ in range(20)]
            before = said
            held.cancel()

    assert others == [200] * 20
    assert before == 1
