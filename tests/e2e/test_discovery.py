"""Engines come and go under a gateway that serves: real sockets, a real list and watch."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import aiohttp
from gateways import Running, start
from rigs.cluster import ApiServer, Cluster, Object, endpoint, slice_of

from modgate.testing.backend import FakeBackend, Scripted

VECTORS = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],'
VECTORS += b'"model":"e","usage":{"prompt_tokens":1,"total_tokens":1}}'
ROUTABLE_S = 1.0
PATH = "/v1/embeddings"


async def engine(stack: AsyncExitStack, pause_s: float = 0.0) -> FakeBackend:
    made = await stack.enter_async_context(FakeBackend())
    made.answer(PATH, Scripted(reply=VECTORS, pause_s=pause_s))
    return made


def at(engine: FakeBackend, uid: str, **conditions: bool) -> Object:
    """An endpoint slice of its own, for engines of one address have ports of their own."""
    parts = urlsplit(engine.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return slice_of(uid, endpoint(parts.hostname, uid=uid, **conditions), port=parts.port)


SECTION = """
[[discover]]
name = "pods"
kind = "{kind}"
serves = {{ vectors = "e" }}
slots = 64
"""


@asynccontextmanager
async def gateway(folder: Path, kind: str, keys: str) -> AsyncIterator[Running]:
    more = SECTION.format(kind=kind) + keys
    running = await start(folder, [], plugins=("embedding",), more=more)
    try:
        yield running
    finally:
        await running.app.close()


def kubernetes(server: ApiServer, token: Path) -> str:
    return (
        f'service = "vllm"\nnamespace = "ml"\nport = "http"\napi = "{server.url}"\n'
        f'token = "{token}"\n'
    )


async def post(running: Running) -> int:
    body = {"model": "vectors", "input": "a"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + PATH, json=body, headers=running.headers) as reply,
    ):
        await reply.read()
        return reply.status


async def until(true: Callable[[], bool], within_s: float = ROUTABLE_S) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def names(running: Running) -> set[str]:
    return {each.uid.partition(":")[2] for each in running.app.gateway.backends}


async def served_by(running: Running, *engines: FakeBackend) -> list[int]:
    """How many of 20 calls each engine got."""
    before = [len(each.calls) for each in engines]
    assert set(await asyncio.gather(*(post(running) for _ in range(20)))) == {200}
    return [len(e.calls) - had for e, had in zip(engines, before, strict=True)]


async def test_pods_come_drain_and_go_while_requests_run(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    async with AsyncExitStack() as stack:
        cluster = Cluster()
        api = await stack.enter_async_context(ApiServer(cluster, "one"))
        first, second = await engine(stack), await engine(stack, pause_s=0.5)
        cluster.put(at(first, "a", ready=True))
        running = await stack.enter_async_context(
            gateway(tmp_path, "kubernetes", kubernetes(api, token))
        )
        await until(lambda: names(running) == {"a"})
        before = running.app.gateway

        cluster.put(at(second, "b", ready=True))
        api.change()
        await until(lambda: names(running) == {"a", "b"})
        assert all(await served_by(running, first, second))

        slow = [asyncio.ensure_future(post(running)) for _ in range(6)]
        await until(lambda: any(not each.left.is_set() for each in second.calls))
        cluster.put(at(second, "b", ready=False, serving=True, terminating=True))
        api.change()
        await until(lambda: any(each.draining for each in running.app.gateway.backends))
        assert (await served_by(running, first, second))[1] == 0
        cluster.delete("b")
        api.change()
        await until(lambda: names(running) == {"a"})

        assert await asyncio.gather(*slow) == [200] * 6  # it ends what it has
        assert running.app.gateway is before  # nothing was built anew
        assert api.lists == 1


async def test_while_the_api_server_is_away_calls_go_where_they_went(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    async with AsyncExitStack() as stack:
        cluster = Cluster()
        api = await stack.enter_async_context(ApiServer(cluster, "one"))
        first, second = await engine(stack), await engine(stack)
        cluster.put(at(first, "a"))
        running = await stack.enter_async_context(
            gateway(tmp_path, "kubernetes", kubernetes(api, token))
        )
        await until(lambda: names(running) == {"a"})
        await api.__aexit__()
        [source] = running.app.state.members.sources
        await until(lambda: source.stale_s > 0.3, 5)
        assert await served_by(running, first) == [20]
        cluster.delete("a")
        cluster.put(at(second, "b"))
        cluster.compact()  # it cannot go on from where it was
        api.token = "two"
        token.write_text("two")  # and the token was rotated meanwhile
        await api.__aenter__()
        await until(lambda: names(running) == {"b"}, 10)

        assert source.stale_s == 0
        assert await served_by(running, second) == [20]


async def test_a_file_is_read_when_it_changes_and_a_mistake_in_it_changes_nothing(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        first, second = await engine(stack), await engine(stack)
        path = tmp_path / "backends.json"
        path.write_text(json.dumps([{"url": first.url}]))
        running = await stack.enter_async_context(gateway(tmp_path, "file", f'path = "{path}"\n'))
        await until(lambda: names(running) == {first.url})
        path.write_text(json.dumps([{"url": second.url, "slots": 40}]))
        await until(lambda: names(running) == {second.url}, 1.5)
        assert [each.slots for each in running.app.gateway.backends] == [40]
        path.write_text("[")
        [source] = running.app.state.members.sources
        await until(lambda: source.stale_s > 0, 2)

        assert await served_by(running, second) == [20]


async def test_a_reload_keeps_what_was_found_and_a_taken_out_discoverer_takes_its_engines_along(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        first = await engine(stack)
        path = tmp_path / "backends.json"
        path.write_text(json.dumps([{"url": first.url}]))
        running = await stack.enter_async_context(gateway(tmp_path, "file", f'path = "{path}"\n'))
        await until(lambda: names(running) == {first.url})
        [source] = running.app.state.members.sources
        text = running.config.read_text()
        running.config.write_text(text.replace("slots = 64", 'slots = 9\nregion = "eu"'))
        await running.app.reload("test")
        [kept] = running.app.state.members.sources
        [backend] = running.app.gateway.backends
        running.config.write_text(text[: text.index("[[discover]]")])
        await running.app.reload("test")

        assert kept is source
        assert (backend.slots, backend.region) == (9, "eu")
        assert list(running.app.gateway.backends) == []
        assert running.app.state.members.sources == []


async def metrics(running: Running) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.admin + "/metrics") as reply,
    ):
        return await reply.text()


async def test_discovery_is_in_the_metrics_and_its_engines_on_the_admin_page(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        first = await engine(stack)
        path = tmp_path / "backends.toml"
        path.write_text(f'[[backend]]\nurl = "{first.url}"\nname = "one"\n')
        running = await stack.enter_async_context(gateway(tmp_path, "file", f'path = "{path}"\n'))
        await until(lambda: names(running) == {first.url})
        text = await metrics(running)
        async with (
            aiohttp.ClientSession() as session,
            session.get(running.admin + "/admin/v1/backends") as reply,
        ):
            page = await reply.json()

        assert 'modgate_discovered_backends{discover="pods"} 1' in text
        assert 'modgate_discovery_stale_seconds{discover="pods"} 0' in text
        assert [each["name"] for each in page["backends"]] == ["pods/one"]


def registry() -> ModuleType:
    """The plugin that the page for authors shows."""
    page = Path(__file__).parents[2] / "docs" / "plugin-authors" / "discoverers.md"
    [text] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    module = ModuleType("registry")
    exec(text, vars(module))
    return module


async def test_a_plugin_finds_engines_its_own_way(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        first, site = await engine(stack), await engine(stack)
        engines = [{"id": "r1", "url": first.url}, {"id": "r2", "url": "file:///etc"}]
        site.answer("/engines", Scripted(reply=json.dumps({"engines": engines}).encode()))
        more = SECTION.format(kind="registry") + f'url = "{site.url}/engines"\n'
        running = await start(
            tmp_path,
            [],
            plugins=("embedding", "registry"),
            models={"vectors": "embedding"},
            extra={"registry": registry()},
            more=more,
        )
        stack.push_async_callback(running.app.close)
        await until(lambda: names(running) == {"r1"})

        assert await served_by(running, first) == [20]
