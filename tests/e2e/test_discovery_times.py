"""How soon an engine that came is called, and how soon one that went is not; under steady calls."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from pathlib import Path

import pytest
from gateways import Running
from rigs.cluster import ApiServer, Cluster
from rigs.pods import PATH, at, engine, gateway, kubernetes, names, post
from waiting import until

from modgate.api.sink import Receipt
from modgate.testing.backend import FakeBackend, Scripted

EVERY_S = 0.02
NEW, ROUTABLE_S = 12, 1.0
OUT_CALLS, WARM, WATCHED = 5, 50, 200

pytestmark = pytest.mark.slow


class Steady:
    """A call each 20 ms.  `tried`: when each attempt began and ended, by backend; `statuses`: of
    replies.
    """

    def __init__(self, running: Running) -> None:
        self.tried: list[tuple[str, float, float]] = []
        self.statuses: Counter[int] = Counter()
        self._running = running
        self._calls: set[asyncio.Task[None]] = set()
        running.app.state.observer.also(self._saw)

    def _saw(self, receipt: Receipt) -> None:
        began = time.monotonic() - receipt.duration_s
        for each in receipt.attempts:
            ended_s = inf if each.ended_s is None else each.ended_s
            self.tried.append((each.backend, began + each.began_s, began + ended_s))

    async def _call(self) -> None:
        self.statuses[await post(self._running)] += 1

    async def calls(self, count: int) -> None:
        """Wait until so many more were answered."""
        so_many = self.statuses.total() + count
        await until(lambda: self.statuses.total() >= so_many, within_s=60.0)

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
            await steady.calls(WARM)
            busiest = max(engines, key=lambda each: len(each.calls))
            died, name = time.monotonic(), f"p{engines.index(busiest)}"
            await dies(busiest)
            await steady.calls(WATCHED)
            slots = running.app.state.fleet.slots[f"pods:{name}"]
            await until(lambda: not slots.taken)  # calls that hang in it give theirs back
    tried = [(began, ended) for at, began, ended in steady.tried if at == f"pods/{name}"]
    failed = sorted(ended for _, ended in tried if ended >= died)
    known = failed[OUT_CALLS - 1] if len(failed) >= OUT_CALLS else inf
    last_s = max(began for began, _ in tried) - died
    figure(f"a pod {dies.__name__}: {len(failed)} calls, the last after {last_s:.2f} s")

    assert not [began for began, _ in tried if began > known]
    assert dies is silent or set(steady.statuses) == {200}  # that takes too many tries for a budget
