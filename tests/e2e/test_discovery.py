"""Engines come and go under a gateway that serves: real sockets, a real list and watch."""

from __future__ import annotations

import asyncio
import json
import random
import re
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import aiohttp
import pytest
from gateways import Running, start
from rigs.certificates import certificate
from rigs.cluster import ApiServer, Cluster, endpoint, slice_of
from rigs.pods import SECTION, at, engine, gateway, kubernetes, names, post
from rigs.virtual import Still
from waiting import until

from modgate.discover.reach import Reach
from modgate.discover.slices import Slices
from modgate.testing.backend import FakeBackend, Scripted


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


async def test_a_gateway_that_starts_is_ready_when_it_was_told_of_its_engines_or_cannot_be(
    tmp_path: Path,
) -> None:
    asked: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: asked.put(writer), "127.0.0.1")
    (tmp_path / "token").write_text("one")
    host, port = server.sockets[0].getsockname()[:2]
    keys = f'service = "vllm"\nnamespace = "ml"\napi = "http://{host}:{port}"\n'
    more = SECTION.format(kind="kubernetes") + keys + f'token = "{tmp_path / "token"}"\n'
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        first = await engine(stack)
        served = {"url": first.url, "serves": {"vectors": "e"}}
        running = await start(tmp_path, [served], plugins=("embedding",), more=more)
        stack.push_async_callback(running.app.close)

        async def ready() -> int:
            async with session.get(f"{running.url}/health/ready") as reply:
                return reply.status

        async with asyncio.timeout(5):
            writer = await asked.get()
        before = await ready()
        writer.transport.abort()
        server.close()
        [source] = running.app.state.members.sources
        await until(lambda: source.heard, 5)
        after = await ready()

    assert (before, after) == (503, 200)


async def test_a_gateway_whose_engines_were_all_taken_away_is_ready_for_calls_that_bring_them_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "backends.json"
    async with gateway(tmp_path, "file", f'path = "{path}"\n') as running:
        state = running.app.state
        await until(state.members.heard)
        unknown = state.ready()  # nobody said that there is none
        path.write_text('[{"url": "http://127.0.0.1:1"}]')
        await until(state.ready)
        path.write_text("[]")
        await until(lambda: not names(running))
        none = state.ready()

    assert (unknown, none) == (False, True)


async def test_what_is_asked_of_a_model_without_engines_is_offered_work_that_wakes_some(
    tmp_path: Path,
) -> None:
    path = tmp_path / "backends.json"
    path.write_text("[]")
    async with gateway(tmp_path, "file", f'path = "{path}"\n') as running:
        assert await post(running) == 503
        metrics = (await running.app.state.observer.rendered()).decode()

    [offered] = re.findall(r'modgate_pool_offered_units_total\{model="vectors"\} (\S+)', metrics)
    assert float(offered) > 0


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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happened_between_it_and_the_api_server_the_set_is_that_of_the_list(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    token = tmp_path / "token"
    token.write_text("one")
    async with AsyncExitStack() as stack:
        cluster = Cluster()
        api = await stack.enter_async_context(ApiServer(cluster, "one"))
        running = await stack.enter_async_context(
            gateway(tmp_path, "kubernetes", kubernetes(api, token))
        )
        for _ in range(400):
            await happens(dice, cluster, api)
            await asyncio.sleep(dice.choice((0.0, 0.0, 0.002, 0.01)))
        store = Slices(reach=Reach(), port="http")
        store.replace(cluster.slices)
        [source] = running.app.state.members.sources
        await until(lambda: list(source.instances) == store.instances(), 20)
        relists = api.lists

        assert source.stale_s == 0
        assert names(running) == {each.uid for each in store.instances()}
        assert relists < 30  # of about 80 reasons


async def happens(dice: random.Random, cluster: Cluster, api: ApiServer) -> None:
    """Something of what happens in a cluster, and on the way to it."""
    match dice.choice((*["put"] * 6, "delete", "end", "cut", "compact", "away")):
        case "put":
            pods = [
                endpoint(
                    f"10.0.0.{dice.randint(1, 9)}",
                    uid=f"pod{dice.randint(1, 9)}",
                    ready=dice.choice((True, True, False)),
                    serving=dice.choice((None, True, False)),
                    terminating=dice.choice((None, True, False)),
                )
                for _ in range(dice.randint(0, 4))
            ]
            cluster.put(slice_of(f"slice{dice.randint(1, 4)}", *pods))
        case "delete":
            cluster.delete(f"slice{dice.randint(1, 4)}")
        case "end":
            api.end()
        case "cut":
            api.cut()
        case "compact":
            cluster.compact()
        case "away" if dice.random() < 0.2:
            await api.__aexit__()
            await asyncio.sleep(0.05)
            await api.__aenter__()
    api.change()


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


async def test_what_is_known_of_a_pod_is_its_uids_whatever_its_address_and_outlives_a_relist(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    async with AsyncExitStack() as stack:
        cluster = Cluster()
        api = await stack.enter_async_context(ApiServer(cluster, "one"))
        first, second, third = [await engine(stack) for _ in range(3)]
        cluster.put(at(first, "a"))
        cluster.put(at(second, "b"))
        running = await stack.enter_async_context(
            gateway(tmp_path, "kubernetes", kubernetes(api, token))
        )
        await until(lambda: names(running) == {"a", "b"})
        await served_by(running, first, second)
        fleet = running.app.state.fleet
        health, standing = dict(fleet.health), dict(fleet.standings)
        cluster.put(at(third, "b"))  # while nobody can tell of it
        cluster.compact()
        api.cut()
        await until(lambda: third.url in {each.url for each in running.app.gateway.backends}, 5)

        assert all(await served_by(running, first, third))
        assert second.calls
        assert api.lists == 2
        assert {*health} == {"pods:a", "pods:b"}
        assert all(fleet.health[each] is health[each] for each in health)
        assert all(fleet.standings[each] is standing[each] for each in standing)


async def test_an_engine_is_found_although_its_authoritys_file_is_gone(tmp_path: Path) -> None:
    certificate(tmp_path, "house")
    path, ca = tmp_path / "backends.json", tmp_path / "house.pem"
    path.write_text("[]")
    keys = f'path = "{path}"\nca = "{ca}"\n'
    async with gateway(tmp_path, "file", keys) as running:
        await until(lambda: running.app.state.members.sources[0].known)
        ca.unlink()
        path.write_text('[{"url": "https://10.0.0.1"}]')

        await until(lambda: names(running) == {"https://10.0.0.1"})


async def test_what_is_known_of_an_engine_that_went_is_kept_for_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Still()
    monkeypatch.setattr("modgate.server.app.SystemClock", lambda: clock)
    async with AsyncExitStack() as stack:
        first = await engine(stack)
        path = tmp_path / "backends.json"
        here, gone = json.dumps([{"url": first.url}]), "[]"
        path.write_text(here)
        running = await stack.enter_async_context(gateway(tmp_path, "file", f'path = "{path}"\n'))
        state, identity = running.app.state, f"pods:{first.url}"
        await until(lambda: names(running) == {first.url})
        await post(running)
        known, series = state.fleet.health[identity], f'backend="pods/{first.url[7:]}"'

        async def after(seconds: float, text: str) -> bool:
            """Whether it is known, so long after the list was this; as the gateway looks."""
            path.write_text(text)
            await until(lambda: len(names(running)) == (text is here), 2)
            await state.prune(running.app.gateway.backends)
            clock.at += seconds
            await state.prune(running.app.gateway.backends)
            told = series in await running.page("/metrics")
            assert told == (state.fleet.health.get(identity) is known)
            return told

        assert await after(599, gone)
        assert await after(1, here)
        assert await after(599, gone)
        assert not await after(2, gone)


async def test_a_call_that_began_before_a_reload_goes_to_an_engine_that_came_after_it(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        slow, new = await engine(stack, pause_s=3.0), await engine(stack)
        path = tmp_path / "backends.json"
        full = {"url": slow.url, "slots": 1}
        path.write_text(json.dumps([full]))
        running = await stack.enter_async_context(gateway(tmp_path, "file", f'path = "{path}"\n'))
        await until(lambda: names(running) == {slow.url})
        calls = [asyncio.ensure_future(post(running)) for _ in range(2)]
        await until(lambda: running.app.state.fleet.queued == 1)
        await running.app.reload("test")
        path.write_text(json.dumps([full, {"url": new.url}]))
        await until(lambda: len(new.calls) == 1, 1.5)

        assert await asyncio.gather(*calls) == [200, 200]


async def test_discovery_is_in_the_metrics_and_its_engines_on_the_admin_page(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        first = await engine(stack)
        path = tmp_path / "backends.toml"
        path.write_text(f'[[backend]]\nurl = "{first.url}"\nname = "one"\n')
        running = await stack.enter_async_context(gateway(tmp_path, "file", f'path = "{path}"\n'))
        await until(lambda: names(running) == {first.url})
        text = await running.page("/metrics")
        page = json.loads(await running.page("/admin/v1/backends"))

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
