"""What asks for a reload, and files that must not take away what is served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner
from gateways import Running, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from rigs.virtual import Still
from rigs.wired import Line, Wired
from waiting import until

from modgate.cli import main
from modgate.server import beside

CHAT = ask.chat(1, model="chat")
WITHIN_S = 20.0
DOUBTS = "the configuration may not be what is meant"


@asynccontextmanager
async def gateway(folder: Path, engine: ScriptedEngine, more: str = "") -> AsyncIterator[Running]:
    """All plugins over one engine."""
    async with await start(folder, [{"url": engine.url}], more=more) as running:
        yield running


async def test_a_storm_of_signals_is_one_reload(tmp_path: Path, engine: ScriptedEngine) -> None:
    async with gateway(tmp_path, engine) as running:
        app = running.app
        before = app.epoch
        for _ in range(100):
            app.reload_soon()
        await asyncio.sleep(0)
        await app.reload()  # behind all that wait
        first = app.epoch - before
        app.reload_soon()
        await asyncio.sleep(0)
        await app.reload()

    assert (first, app.epoch - before) == (2, 4)


async def test_a_model_that_a_reload_names_no_more_is_forgotten_after_ten_minutes(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Still()
    monkeypatch.setattr("modgate.server.app.SystemClock", lambda: clock)
    async with gateway(tmp_path, engine) as running:
        app, fleet = running.app, running.app.state.fleet
        await send(running.url, CHAT, key=running.key)
        text = running.config.read_text()
        running.config.write_text(text.replace("chat", "talk"))
        await app.reload()
        clock.at += 599
        await app.state.prune(app.gateway.backends)
        kept = "chat" in fleet.lines and "chat" in fleet.expected and "chat" in fleet.retries
        clock.at += 1
        await app.state.prune(app.gateway.backends)

        assert kept
        for known in (fleet.lines, fleet.expected, fleet.retries):
            assert "chat" not in known
        assert "talk" in fleet.lines


@pytest.mark.parametrize("emptied", ["modgate.toml", "more/a.toml"])
async def test_a_file_that_was_emptied_takes_nothing_away(
    tmp_path: Path, engine: ScriptedEngine, emptied: str
) -> None:
    async with gateway(tmp_path, engine) as running, ClientSession() as session:
        included(running, tmp_path / "more")
        await running.app.reload()
        (tmp_path / emptied).write_text("")
        async with session.post(running.admin + "/admin/v1/reload") as reply:
            refused = (reply.status, await reply.json())
        served = await send(running.url, CHAT, key=running.key)

    assert (refused[0], refused[1]["reloaded"]) == (400, False)
    assert refused[1]["problems"][0].startswith(f"{tmp_path / emptied}:1: there is nothing in it")
    assert served.ended == "ok"


async def test_a_folder_that_is_gone_takes_nothing_away(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with gateway(tmp_path, engine) as running, ClientSession() as session:
        included(running, tmp_path / "more")
        await running.app.reload()
        (tmp_path / "more").rename(tmp_path / "away")
        async with session.post(running.admin + "/admin/v1/reload") as reply:
            refused = (reply.status, await reply.json())
        served = await send(running.url, CHAT, key=running.key)
        (tmp_path / "away").rename(tmp_path / "more")
        (tmp_path / "more/a.toml").write_text("# nobody any more")
        async with session.post(running.admin + "/admin/v1/reload") as reply:
            meant = (await reply.json())["reloaded"]
        after = await send(running.url, CHAT, key=running.key)

    assert (refused[0], refused[1]["reloaded"]) == (400, False)
    assert "no file matches 'more/*.toml' any more" in refused[1]["problems"][0]
    assert (served.ended, meant, after.status) == ("ok", True, 401)


async def test_a_key_file_that_was_emptied_revokes_its_keys_and_is_told(
    tmp_path: Path, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(tmp_path, engine) as running:
        await running.app.reload()
        (tmp_path / "acme.keys").write_text("")
        for _ in range(2):
            await running.app.reload()
        refused = await send(running.url, CHAT, key=running.key)

    told = [
        each.__dict__["tenants"] for each in caplog.records if "no keys any more" in each.message
    ]
    assert (refused.status, told) == (401, [["acme"]])


async def test_a_section_of_a_key_that_no_file_has_is_told_by_check_and_by_the_log(
    tmp_path: Path, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(tmp_path, engine) as running:
        key_id = (tmp_path / "acme.keys").read_text().split()[0]
        typo = f"{key_id[:-1]}{'b' if key_id[-1] == 'a' else 'a'}"
        sections = [f"[tenant.acme.key.{each}]\nmodels = ['chat']\n" for each in (key_id, typo)]
        running.config.write_text(running.config.read_text() + "".join(sections))
        await running.app.reload()
        checked = CliRunner().invoke(main, ["check", str(running.config)])
    [told] = [each for each in caplog.records if each.message == DOUBTS]
    [problem] = told.__dict__["doubts"]

    assert checked.exit_code == 0
    assert problem in checked.stderr
    assert f"tenant.acme.key.{typo}" in problem
    assert f"no key of the tenant's file; did you mean '{key_id}'?" in problem


async def test_a_price_of_a_tenant_that_is_nearly_one_of_the_file_is_told(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    cases = "".join(
        f'[[price.first.case]]\ntenant = "{name}"\nunits = {{ "llm.output_tokens" = "1/1k" }}\n'
        for name in ("acme", "acmee", "of-the-store")
    )
    async with gateway(tmp_path, engine, FIRST + cases) as running:
        checked = CliRunner().invoke(main, ["check", str(running.config)])

    assert checked.exit_code == 0
    assert [line for line in checked.stderr.splitlines() if "no tenant" in line] == [
        f"{tmp_path}/modgate.toml:{line_of(running, 'acmee')}: price.first.case[1].tenant: "
        "no tenant of the file; did you mean 'acme'?"
    ]


async def test_a_model_that_the_newest_prices_say_nothing_of_is_told(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    newest = """
    [price.newest]
    effective = 2026-02-01
    currency = "EUR"
    units = { "llm.output_tokens" = "1/1k", "*.requests" = "free" }
    """
    prices = FIRST + newest.replace(', "*.requests" = "free"', "")
    prices += '[[price.newest.case]]\nmodel = "eyes"\nunits = { "vlm.output_tokens" = "free" }\n'
    async with gateway(tmp_path, engine, prices) as running:
        checked = CliRunner().invoke(main, ["check", str(running.config)])
        running.config.write_text(running.config.read_text().replace(prices, FIRST + newest))
        plain = CliRunner().invoke(main, ["check", str(running.config)])

    assert [line.partition("price.newest: ")[2] for line in checked.stderr.splitlines()] == [
        f"nothing that '{model}' uses has a price: its requests are unpriced, and not free"
        for model in ("ears", "pages", "ranks", "vectors", "voice")
    ]
    assert plain.stderr == ""


def line_of(running: Running, text: str) -> int:
    lines = running.config.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


BOOK = """
[price.{}]
effective = {}
currency = "EUR"
units = {{ "llm.output_tokens" = "{}/1k" }}
"""
FIRST, NEXT = BOOK.format("first", "2026-01-01", 1), BOOK.format("next", "2999-01-01", 2)


@pytest.mark.parametrize(
    ("books", "since"),
    [
        (BOOK.format("first", "2026-01-01", 2) + NEXT, "2026-01-01T00:00:00Z"),
        (FIRST + BOOK.format("other", "2026-02-01", 3) + NEXT, "2026-02-01T00:00:00Z"),
        (NEXT, "2026-01-01T00:00:00Z"),
        (FIRST + BOOK.format("next", "2999-01-01", 3), None),
        (FIRST + '[price.fix]\ncorrects = "first"\ncurrency = "EUR"\n', None),
        (BOOK.format("renamed", "2026-01-01", 1) + NEXT, None),
    ],
)
async def test_a_reload_that_changes_what_the_past_costs_is_told(
    tmp_path: Path,
    engine: ScriptedEngine,
    caplog: pytest.LogCaptureFixture,
    books: str,
    since: str | None,
) -> None:
    async with gateway(tmp_path, engine, FIRST + NEXT) as running:
        text = running.config.read_text()
        running.config.write_text(text.replace(FIRST + NEXT, books))
        await running.app.reload()
        await running.app.reload()
    told = [each for each in caplog.records if each.message == "bills that were made change"]

    assert [each.__dict__["since"] for each in told] == ([since] if since else [])


def included(running: Running, folder: Path) -> None:
    """The file's tenants are in a folder that it includes."""
    first, mark, tenants = running.config.read_text().partition("[tenant.acme]")
    folder.mkdir()
    (folder / "a.toml").write_text(mark + tenants)
    running.config.write_text('include = ["more/*.toml"]\n' + first)


@pytest.mark.parametrize("asked", ["by a signal", "by an admin"])
async def test_a_file_that_never_lets_itself_be_read_keeps_no_gateway_from_leaving(
    tmp_path: Path,
    engine: ScriptedEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asked: str,
) -> None:
    monkeypatch.setattr(beside, "LATE_S", 0.01)
    monkeypatch.setattr(beside, "LEFT_S", 0.1)
    keys = tmp_path / "acme.keys"
    async with gateway(tmp_path, engine) as running, ClientSession() as session:
        keys.unlink()
        os.mkfifo(keys)  # as a file system that hangs: who opens it waits for somebody who writes
        if asked == "by a signal":
            running.app.reload_soon()
        else:
            admin = asyncio.ensure_future(session.post(running.admin + "/admin/v1/reload"))
        try:
            await until(lambda: "what is read does not come to an end" in caplog.text)
            served = await send(running.url, CHAT, key=running.key)
            async with asyncio.timeout(30):
                await running.app.close()
        finally:
            with suppress(OSError):  # nobody waits for it
                os.close(os.open(keys, os.O_WRONLY | os.O_NONBLOCK))
        if asked == "by an admin":
            await asyncio.wait([admin])
            assert admin.exception() is not None

    assert served.status == 200


async def test_a_changed_deadline_of_connecting_counts_for_engines_that_are_known(
    tmp_path: Path,
) -> None:
    """The engine takes the connection, and never ends the handshake of TLS."""

    silent = Wired(Line.left)
    await silent.start()
    backends = [{"url": silent.url.replace("http:", "https:")}]
    more = '[timeouts]\nconnect = "1h"\n'
    try:
        async with await start(tmp_path, backends, more=more) as running:
            running.config.write_text(running.config.read_text().replace('"1h"', '"50ms"'))
            waiting = await running.app.reload()
            async with asyncio.timeout(WITHIN_S):
                reply = await send(running.url, CHAT, key=running.key)
    finally:
        await silent.stop()

    assert waiting == ()
    assert (reply.status, b"upstream_timeout" in reply.body) == (504, True)
