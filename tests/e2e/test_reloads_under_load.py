"""What goes on while a configuration is read: requests, changes of its files, an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine

from modgate.problems import ConfigError
from modgate.server import app as module
from modgate.server import watch
from modgate.snapshot.blueprint import Blueprint

CHAT = ask.chat(1, model="chat")
AT_MOST_S = 20.0  # for what would never come; nothing waits for it


class SlowReading:
    """Reading that begins, and ends when it may."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = threading.Event()
        self.ended = 0
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def held(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowReading]:
        """All that is read from now on."""
        read = module.blueprint_of

        def slowly(*args: Path, **more: object) -> Blueprint:
            self._loop.call_soon_threadsafe(self.begun.set)
            assert self.may_end.wait(AT_MOST_S), "it was read on the event loop"
            made = read(*args, **more)  # type: ignore[arg-type]  # as it was called
            self.ended += 1
            return made

        monkeypatch.setattr(module, "blueprint_of", slowly)
        try:
            yield self
        finally:
            self.may_end.set()


@pytest.fixture(autouse=True)
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but a test looks at the files."""
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 3600.0)


@asynccontextmanager
async def gateway(folder: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    """All plugins over one engine."""
    async with await start(folder, [{"url": engine.url}]) as running:
        yield running


async def test_requests_are_served_while_a_configuration_is_read(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, engine) as running:
        with SlowReading().held(monkeypatch) as reading:
            reloading = asyncio.create_task(running.app.reload())
            await reading.begun.wait()
            served = await send(running.url, CHAT, key=running.key)
            still = not reloading.done()
            reading.may_end.set()
            await reloading

    assert (served.ended, still) == ("ok", True)


async def test_an_end_while_a_configuration_is_read_leaves_no_thread_and_swaps_nothing(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, engine) as running:
        app = running.app
        snapshot = app.gateway
        with SlowReading().held(monkeypatch) as reading:
            app.reload_soon()
            await reading.begun.wait()
            closing = asyncio.create_task(app.close())
            await asyncio.sleep(0)
            app.reload_soon()
            reading.may_end.set()
            await closing

    assert (reading.ended, app.gateway is snapshot) == (1, True)


async def test_an_end_waits_for_the_reload_that_an_admin_asked_for(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, engine) as running, ClientSession() as session:
        app, url = running.app, running.admin + "/admin/v1/reload"
        with SlowReading().held(monkeypatch) as reading:
            asked = asyncio.ensure_future(session.post(url))
            await reading.begun.wait()
            closing = asyncio.create_task(app.close())
            await asyncio.wait([asked])  # it was cut
            still = not closing.done()
            reading.may_end.set()
            await closing

    assert isinstance(asked.exception(), ClientError)
    assert (still, reading.ended) == (True, 1)


async def test_a_file_that_is_still_written_is_read_when_it_is_whole(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STILL_S", 0.0)
    async with gateway(tmp_path, engine) as running:
        app, whole = running.app, running.config.read_text()
        looks = []
        look = app._watched.changed

        def changed() -> bool:
            looks.append(look())
            if len(looks) == 1:
                running.config.write_text(whole + "# the rest of it\n")
            return looks[-1]

        monkeypatch.setattr(app._watched, "changed", changed)
        before = app.epoch
        running.config.write_text(whole.partition("[tenant.acme]")[0])
        await app._look_at_file()
        served = await send(running.url, CHAT, key=running.key)

    assert looks == [True, True, False]
    assert (served.ended, app.epoch - before) == ("ok", 1)


async def test_tenants_that_a_reload_takes_away_are_told(
    tmp_path: Path, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(tmp_path, engine) as running:
        text = running.config.read_text()
        running.config.write_text(text.partition("[tenant.acme]")[0])
        await running.app.reload()
        await running.app.reload()

    told = [each for each in caplog.records if each.message == "tenants are gone"]
    assert [each.__dict__["tenants"] for each in told] == [["acme"]]


async def test_what_a_refused_file_names_is_looked_at(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with gateway(tmp_path, engine) as running:
        app, keys = running.app, tmp_path / "later.keys"
        text = running.config.read_text()
        running.config.write_text(text + f'[tenant.later]\nkeys = {{ file = "{keys}" }}\n')
        with pytest.raises(ConfigError, match=r"later\.keys cannot be read"):
            await app.reload()
        before = app.epoch
        await app._look_at_file()
        refused = app.epoch - before
        keys.write_text("")
        await app._look_at_file()

    assert (refused, app.epoch - before) == (0, 1)


async def test_more_included_files_than_are_read_are_a_mistake(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.config.source.FILES_AT_MOST", 2)
    (tmp_path / "more").mkdir()
    for number in range(3):
        (tmp_path / f"more/{number}.toml").write_text("# nothing yet")
    async with gateway(tmp_path, engine) as running:
        running.config.write_text('include = ["more/*.toml"]\n' + running.config.read_text())
        with pytest.raises(ConfigError, match=r"3 files match 'more/.*', and 2 are read at most"):
            await running.app.reload()
        await running.app._look_at_file()

        assert not running.app._watched.changed()
