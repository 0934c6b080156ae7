"""Every route of both listeners, and what each kind of key gets there, as roles.toml says it.

A route that has no row is a mistake: nobody decided who may ask for it.
"""

from __future__ import annotations

import asyncio
import os
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from gateways import PEPPER, Running, client, configuration
from oracle.engine import ScriptedEngine
from rigs.ledger import receipt

from modgate.auth import attempts
from modgate.auth.keys import ROLES, StoredKey, new_key
from modgate.pages.catalog import OPEN_PATHS, PAGES
from modgate.plugin import Secret
from modgate.server.app import App

MATRIX = Path(__file__).with_name("roles.toml")
WITHIN_S = 5.0
BILLED = f"req_{7:032x}"


@dataclass(frozen=True, kw_only=True)
class Staffed:
    """A gateway whose admin listener wants a key, and a key of each kind."""

    running: Running
    keys: dict[str, str | None]


def made(name: str, role: str = "tenant") -> tuple[str, StoredKey]:
    key, stored = new_key(
        Secret(PEPPER), name=name, env="test", random=os.urandom, role=ROLES[role]
    )
    return key.reveal(), stored


@asynccontextmanager
async def staffed(folder: Path, engine: ScriptedEngine) -> AsyncIterator[Staffed]:
    config, keys = configuration(folder, [{"url": engine.url}])
    operator, one = made("o", "operator")
    admin, two = made("a", "admin")
    (folder / "staff.keys").write_text(f"{one.line()}\n{two.line()}\n")
    text = config.read_text()
    section = f'[admin]\nkeys = {{ file = "{folder}/staff.keys" }}'
    config.write_text(text.replace("[admin]", section, 1))
    revoked, gone = made("revoked")
    expired, past = made("expired")
    acme = folder / "acme.keys"
    kept = f"{acme.read_text()}{replace(past, until=1e9).line()}\n"
    acme.write_text(f"{kept}{gone.line()}\n")
    app = App(config, directory=folder / "state")
    await app.open()
    try:
        running = Running(app, keys, config)
        async with client() as session:
            assert await status(session, "GET", f"{running.url}/v1/models", revoked) == 200
        acme.write_text(kept)
        kinds: dict[str, str | None] = {"none": None, "tenant": keys["acme"], "operator": operator}
        kinds |= {"admin": admin, "revoked": revoked, "expired": expired}
        yield Staffed(running=running, keys=kinds)
    finally:
        await app.close()


async def status(session: ClientSession, method: str, url: str, key: str | None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    body = {"json": {}} if method == "POST" else {}
    async with session.request(method, url, headers=headers, **body) as reply:
        await reply.read()
        return reply.status


def live(running: Running) -> dict[str, set[str]]:
    """The routes that there are, by listener."""
    app = running.app
    public = {f"GET {path}" for path in (*OPEN_PATHS, *PAGES)}
    public |= {f"POST {path}" for path in app.gateway.table.routes}
    return {"public": public, "admin": set(app.pages.paths())}


def expected() -> Iterator[tuple[str, str, str, int | str]]:
    """Each cell: listener, route, kind of key, and the status, or "ok"."""
    read = tomllib.loads(MATRIX.read_text())
    for listener in ("public", "admin"):
        for route, kind in read[listener].items():
            for key, wanted in read["kinds"][kind].items():
                yield listener, route, key, wanted


async def test_every_route_has_a_row_and_every_row_is_a_route(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    read = tomllib.loads(MATRIX.read_text())
    async with staffed(tmp_path, engine) as gateway:
        routes = live(gateway.running)

    assert routes == {listener: set(read[listener]) for listener in routes}


@pytest.mark.slow
async def test_each_kind_of_key_gets_what_the_matrix_says_on_every_route(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BURST", 10_000)
    wrong = []
    async with staffed(tmp_path, engine) as gateway, client() as session:
        running = gateway.running
        await running.app.reload()
        running.app.state.statements.recent.observe(receipt(BILLED))
        for listener, route, kind, wanted in expected():
            method, _, path = route.partition(" ")
            base = running.url if listener == "public" else running.admin
            declared = str(gateway.keys["tenant"]).split("_")[2] if "keys" in path else "chat"
            declared = BILLED if "usage" in path or "requests" in path else declared
            url = base + path.replace("{id}", declared).replace("{name}", "acme")
            got = await status(session, method, url, gateway.keys[kind])
            if wanted not in (got, "ok") or (wanted == "ok" and got in (401, 403, 404, 405, 429)):
                wrong.append(f"{listener} {route} with {kind}: {got}, not {wanted}")

    assert wrong == []


async def test_the_admin_listener_tells_nobody_without_a_key_what_pages_there_are(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with staffed(tmp_path, engine) as gateway, client() as session:
        url = f"{gateway.running.admin}/no/such/page"
        told = [await status(session, "GET", url, gateway.keys[kind]) for kind in ("none", "admin")]

    assert told == [401, 404]


async def test_a_revoked_key_is_refused_within_five_seconds_by_every_gateway_that_reads_the_file(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    config, keys = configuration(tmp_path, [{"url": engine.url}])
    revoked, gone = made("revoked")
    acme = tmp_path / "acme.keys"
    kept = acme.read_text()
    acme.write_text(f"{kept}{gone.line()}\n")
    replicas = [App(config, directory=tmp_path / f"state {number}") for number in range(3)]
    loop = asyncio.get_running_loop()

    async def refused_after(session: ClientSession, url: str, began: float) -> float:
        while await status(session, "GET", url, revoked) == 200:
            assert loop.time() - began < 2 * WITHIN_S
            await asyncio.sleep(0.05)
        return loop.time() - began

    try:
        for app in replicas:
            await app.open()
        urls = [f"{Running(app, keys, config).url}/v1/models" for app in replicas]
        async with client() as session:
            before = [await status(session, "GET", url, revoked) for url in urls]
            acme.write_text(kept)
            began = loop.time()
            took = await asyncio.gather(*(refused_after(session, url, began) for url in urls))
            still = [await status(session, "GET", url, keys["acme"]) for url in urls]
    finally:
        for app in replicas:
            await app.close()

    assert (before, still) == ([200] * 3, [200] * 3)
    assert max(took) < WITHIN_S


async def test_a_reload_never_opens_an_admin_listener_that_others_can_reach(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """The address is the start's; a file that says another, and has no key any more, opens none."""
    config, _ = configuration(tmp_path, [{"url": engine.url}])
    (tmp_path / "root").write_text("a root key")
    text = config.read_text()
    local = '[admin]\naddress = "127.0.0.1:0"'
    guarded = f'[admin]\naddress = "0.0.0.0:0"\nkey = {{ file = "{tmp_path}/root" }}'
    assert local in text
    config.write_text(text.replace(local, guarded))
    app = App(config, directory=tmp_path / "state")
    await app.open()
    try:
        url = f"http://127.0.0.1:{app.admin_address[1]}/metrics"
        async with client() as session:
            before = [await status(session, "GET", url, key) for key in (None, "a root key")]
            config.write_text(text)
            await app.reload()
            after = [await status(session, "GET", url, key) for key in (None, "a root key")]
    finally:
        await app.close()

    assert (before, after) == ([401, 200], [401, 401])
