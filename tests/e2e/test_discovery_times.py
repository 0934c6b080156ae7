"""How soon an engine that came is called, and how soon one that went is not; under steady calls."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from gateways import Running
from rigs.cluster import ApiServer, Cluster
from rigs.pods import PATH, at, engine, gateway, kubernetes, names, post, until

from modgate.api.sink import Receipt
from modgate.testing.backend import FakeBackend, Scripted

EVERY_S = 0.02
NEW, ROUTABLE_S = 12, 1.0
OUT_S, OUT_CALLS, WATCHED_S = 2.0, 5, 4.0

pytestmark = pytest.mark.slow


class Steady:
    """A call each 20 ms.  `tried`: when each attempt began, by backend; `statuses`: of replies."""

    def __init__(self, running: Running) -> None:
        self.tried: list[tuple[float, str]] = []
        self.statuses: Counter[int] = Counter()
        self._running = running
        self._calls: set[asyncio.Task[None]] = set()
        running.app.state.observer.also(self._saw)

    def _saw(self, receipt: Receipt) -> None:
        began = time.monotonic() - receipt.duration_s
        self.tried += [(began + each.began_s, each.backend) for each in receipt.attempts]

    async def _call(self) -> None:
        self.statuses[await post(self._running)] += 1

    async def _run(self) -> None:
        while True:
            task = asyncio.ensure_future(self._call())
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            await asyncio.sleep(EVERY_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self._run())
        try:
            yield
        finally:
            for each in (task, *self._calls):
                each.cancel()
            await asyncio.wait([task, *self._calls])


@asynccontextmanager
async def pods(
    folder: Path, count: int
) -> AsyncIterator[tuple[Running, Cluster, ApiServer, list[FakeBackend]]]:
    """A gateway and pods that it has found."""
    token = folder / "token"
    token.write_text("one")
    async with AsyncExitStack() as stack:
        cluster = Cluster()
        api = await stack.enter_async_context(ApiServer(cluster, "one"))
        engines = [await engine(stack) for _ in range(count)]
        for number, each in enumerate(engines):
            cluster.put(at(each, f"p{number}"))
        running = await stack.enter_async_context(
            gateway(folder, "kubernetes", kubernetes(api, token))
        )
        await until(lambda: len(names(running)) == count)
        yield running, cluster, api, engines


async def test_a_new_pod_is_called_within_a_second_and_a_deleted_one_is_not(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    came, went = [], []
    async with pods(tmp_path, 0) as (running, cluster, api, _), AsyncExitStack() as stack:
        for number in range(NEW):
            new = await engine(stack)
            cluster.put(at(new, f"new{number}"))
            api.change()
            came.append(await answered(running, 200))
            cluster.delete(f"new{number}")
            api.change()
            went.append(await answered(running, 503))
    figure(f"a new pod is called after {_ms(came)}, a deleted one is not after {_ms(went)}")

    assert max(came) < ROUTABLE_S
    assert max(went) < ROUTABLE_S


async def test_a_changed_file_counts_within_a_second(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    path, new, came = tmp_path / "pods.json", tmp_path / "new.json", []
    path.write_text("[]")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(gateway(tmp_path, "file", f'path = "{path}"\n'))
        one = await engine(stack)
        for engines in ([{"url": one.url}], []) * 3:
            new.write_text(json.dumps(engines))
            new.rename(path)
            came.append(await answered(running, 200 if engines else 503))
    figure(f"a changed file counts after {_ms(came)}")

    assert max(came) < ROUTABLE_S


async def answered(running: Running, status: int) -> float:
    """Seconds until calls are answered so."""
    began = time.monotonic()
    while await post(running) != status:
        assert time.monotonic() - began < 5
    return time.monotonic() - began


def _ms(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2] * 1000:.0f} ms (at most {ordered[-1] * 1000:.0f})"


async def killed(engine: FakeBackend) -> None:
    await engine.__aexit__(None, None, None)


async def failing(engine: FakeBackend) -> None:
    engine.answer(PATH, Scripted(status=500))


async def resetting(engine: FakeBackend) -> None:
    engine.answer(PATH, Scripted(fault="reset"))


async def silent(engine: FakeBackend) -> None:
    engine.answer(PATH, Scripted(fault="silence"))


@pytest.mark.parametrize("dies", [killed, failing, resetting, silent])
async def test_a_dead_pod_of_which_nobody_tells_is_left_alone_soon(
    tmp_path: Path, figure: Callable[[str], None], dies: Callable[[FakeBackend], Awaitable[None]]
) -> None:
    async with pods(tmp_path, 3) as (running, _, _, engines):
        steady = Steady(running)
        async with steady.running():
            await asyncio.sleep(1.0)
            busiest = max(engines, key=lambda each: len(each.calls))
            at_s, name = time.monotonic(), f"p{engines.index(busiest)}"
            await dies(busiest)
            await asyncio.sleep(WATCHED_S)
            stuck = running.app.state.fleet.slots[f"pods:{name}"].taken
    tried = [began_s - at_s for began_s, at in steady.tried if at == f"pods/{name}"]
    tried = [each for each in tried if each >= 0]
    figure(
        f"a pod {dies.__name__}: {len(tried)} calls, the last after {max(tried, default=0):.2f} s"
    )

    assert len(tried) + stuck <= OUT_CALLS or (not stuck and max(tried) <= OUT_S)
    assert dies is silent or set(steady.statuses) == {200}  # that takes too many tries for a budget
