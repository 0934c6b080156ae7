"""Who may make engines is told that calls are held for one.

Source: field.md row 28.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from rigs.held_calls import world
from rigs.pods import engine
from servers import free_port
from waiting import until

from modgate import waker
from modgate.fleet import holding


@asynccontextmanager
async def scaler(status: int = 204) -> AsyncIterator[tuple[str, list[tuple[str, object]]]]:
    """Somebody who may make engines: its url, and the credentials and bodies that it was sent."""
    told: list[tuple[str, object]] = []

    async def wake(request: web.Request) -> web.Response:
        told.append((request.headers.get("Authorization", ""), await request.json()))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/wake", wake)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/wake", told
    finally:
        await runner.cleanup()


async def test_who_makes_engines_is_told_once_that_calls_are_held_and_they_go_when_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAKE_KEY", "sesame-1")
    async with AsyncExitStack() as stack:
        url, told = await stack.enter_async_context(scaler())
        wake = f'wake = {{ url = "{url}", key = {{ env = "WAKE_KEY" }} }}\n'
        made = await stack.enter_async_context(world(tmp_path, 'hold = "20s"', more=wake))
        asked = [asyncio.ensure_future(made.ask()) for _ in range(3)]
        await until(lambda: made.held == 3 and bool(told), 5)
        made.name(await engine(stack))
        answers = await asyncio.gather(*asked)
        metrics = (await made.running.app.state.observer.rendered()).decode()

    assert [status for status, _, _ in answers] == [200] * 3
    body = {"discover": "pods", "model": "vectors", "engine_model": "e"}
    assert told == [("Bearer sesame-1", body)]
    assert 'modgate_wakes_total{discover="pods",ended="ok"} 1\n' in metrics


async def test_while_calls_are_held_he_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "WAKE_AGAIN_S", 0.05)
    monkeypatch.setattr(waker, "REST_S", 0.01)
    async with AsyncExitStack() as stack:
        url, told = await stack.enter_async_context(scaler())
        wake = f'wake = {{ url = "{url}" }}\n'
        made = await stack.enter_async_context(world(tmp_path, 'hold = "20s"', more=wake))
        asked = asyncio.ensure_future(made.ask())
        await until(lambda: len(told) >= 3, 10)
        made.name(await engine(stack))
        status, _, _ = await asked
        count = len(told)
        again, _, _ = await made.ask()

    assert (status, again) == (200, 200)
    assert len(told) == count  # an engine is there
    assert {credentials for credentials, _ in told} == {""}


async def test_one_who_makes_none_is_tried_three_times_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAKE_KEY", "sesame-2")
    monkeypatch.setattr(waker, "AFTER_S", 0.01)
    async with AsyncExitStack() as stack:
        url, told = await stack.enter_async_context(scaler(500))
        wake = f'wake = {{ url = "{url}", key = {{ env = "WAKE_KEY" }} }}\n'
        made = await stack.enter_async_context(world(tmp_path, 'hold = "1s"', more=wake))
        status, code, _ = await made.ask()
        metrics = (await made.running.app.state.observer.rendered()).decode()

    assert (status, code, len(told)) == (503, "no_healthy_upstream", 3)
    [line] = [each for each in caplog.records if "make an engine" in each.getMessage()]
    said = vars(line)
    assert (said["discover"], said["model"], said["reason"]) == ("pods", "vectors", "status 500")
    assert "sesame" not in repr(said)
    assert 'modgate_wakes_total{discover="pods",ended="failed"} 1\n' in metrics


async def test_a_gateway_that_stops_tells_nobody_any_more(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/wake"
    async with world(tmp_path, 'hold = "60s"', more=f'wake = {{ url = "{url}" }}\n') as made:
        asked = asyncio.ensure_future(made.ask())
        await until(lambda: made.held == 1, 5)
        telling = [t for t in asyncio.all_tasks() if "Waker._tell" in repr(t.get_coro())]
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked

    assert [each.cancelled() for each in telling] == [True]
