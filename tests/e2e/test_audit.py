"""Who changed what, and what was denied, as `modgate audit` prints it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner
from gateways import PEPPER, Running, configuration, start
from oracle.engine import ScriptedEngine

from modgate.api.secret import Secret
from modgate.auth.keys import new_key
from modgate.auth.store import Store
from modgate.cli import main
from modgate.server.app import App

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}


@pytest.fixture
async def running(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    limits = 'limits = { requests = "2/hour" }'
    async with await start(tmp_path, [{"url": engine.url}], tenants={"acme": limits}) as made:
        yield made


async def printed(state: Path, *words: str) -> str:
    """The command beside a gateway that runs."""

    def run() -> str:
        result = CliRunner().invoke(main, ["audit", "--directory", str(state), *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    return await asyncio.to_thread(run)


async def rows(state: Path, *words: str) -> list[dict[str, object]]:
    read: list[dict[str, object]] = json.loads(await printed(state, "--json", *words))
    return read


async def test_changes_are_recorded_with_who_made_them(running: Running, tmp_path: Path) -> None:
    admin = f"{running.admin}/admin/v1"
    async with ClientSession() as session:
        await session.put(f"{admin}/tenants/beta", json={"models": ["chat"]})
        reply = await session.post(f"{admin}/keys", json={"tenant": "beta", "name": "ci"})
        made = await reply.json()
        await session.post(f"{admin}/keys/{made['id']}/rotate")
        await session.delete(f"{admin}/keys/{made['id']}")
        await session.post(f"{admin}/reload")
    found = await rows(tmp_path / "state")

    assert [(each["action"], each.get("subject")) for each in found] == [
        ("config.start", str(running.config)),
        ("tenant.set", "beta"),
        ("key.new", made["id"]),
        ("key.rotate", made["id"]),
        ("key.revoke", made["id"]),
        ("config.reload", str(running.config)),
    ]
    assert {each["actor"] for each in found} == {"start", "[admin]"}
    assert str(found[0]["detail"]).replace("epoch 1", "epoch 2") == found[-1]["detail"]
    assert made["key"].split("_")[3] not in str(found)


async def test_a_refused_reload_is_recorded_and_raises_no_epoch(
    running: Running, tmp_path: Path
) -> None:
    running.config.write_text(running.config.read_text() + "[tenant.beta]\nslo = 'golden'\n")
    async with ClientSession() as session:
        await session.post(f"{running.admin}/admin/v1/reload")
    *_, last = await rows(tmp_path / "state")

    assert (last["action"], last["detail"]) == ("config.refused", "1 problems")
    assert running.app.epoch == 1


async def test_a_change_by_another_process_is_recorded_once_with_its_actor(
    running: Running, tmp_path: Path
) -> None:
    store = Store(tmp_path / "state" / "tenants.db")
    store.set_tenant("beta", {}, actor="command line (ann)", wall=5.0)
    store.close()
    await running.app.tenancy.look()
    await running.app.close()
    app = App(running.config, directory=tmp_path / "state")
    await app.open()
    await app.close()
    found = await rows(tmp_path / "state")

    assert [each["actor"] for each in found if each["action"] == "tenant.set"] == [
        "command line (ann)"
    ]


async def test_denied_requests_are_counted_by_tenant_and_reason(
    running: Running, tmp_path: Path
) -> None:
    bad, _ = new_key(Secret(PEPPER), name="", env="test", random=os.urandom)
    url = f"{running.url}/v1/chat/completions"
    async with ClientSession() as session:
        for _ in range(6):
            await session.post(url, json=CHAT, headers=running.headers)
        for _ in range(3):
            headers = {"Authorization": f"Bearer {bad.reveal()}"}
            await session.post(url, json=CHAT, headers=headers)
        running.app.audit.flush(at_once=True)
        found = await rows(tmp_path / "state", "--denied")
        table = await printed(tmp_path / "state", "--denied")

    assert [(each.get("tenant", ""), each["subject"], each["count"]) for each in found] == [
        ("", "invalid_api_key", 3),
        ("acme", "insufficient_quota", 4),
    ]
    assert table.splitlines()[2].split()[2:] == ["acme", "4", "insufficient_quota"]


async def test_a_denied_admin_request_is_counted(tmp_path: Path, engine: ScriptedEngine) -> None:
    path, _ = configuration(tmp_path, [{"url": engine.url}])
    (tmp_path / "admin-key").write_text("an admin key of the tests")
    section = f'[admin]\nkey = {{ file = "{tmp_path / "admin-key"}" }}\n'
    path.write_text(path.read_text().replace("[admin]\n", section))
    app = App(path, directory=tmp_path / "state")
    await app.open()
    admin = Running(app, {}, path).admin
    async with ClientSession() as session:
        await session.get(f"{admin}/metrics")
        await session.get(f"{admin}/metrics", headers={"Authorization": "Bearer wrong"})
    await app.close()
    found = await rows(tmp_path / "state", "--denied")

    assert {each["subject"] for each in found} == {"admin.missing_api_key", "admin.invalid_api_key"}


async def test_a_log_that_was_changed_is_told_by_the_command_and_at_the_start(
    running: Running, tmp_path: Path
) -> None:
    await running.app.close()
    path = tmp_path / "state" / "audit" / "segment-changes-00000001.ledger"
    path.write_bytes(path.read_bytes().replace(b"config.start", b"config.stars"))
    words = ["audit", "--directory", str(tmp_path / "state")]
    result = CliRunner().invoke(main, words)
    app = App(running.config, directory=tmp_path / "state")

    assert (result.exit_code, "the audit log was changed" in result.output) == (1, True)
    with pytest.raises(Exception, match="was changed by somebody else"):
        await app.open()


@pytest.mark.parametrize("name", ["audit-key", "ledger-key"])
async def test_a_start_with_another_key_says_that_it_may_be_that(
    running: Running, tmp_path: Path, name: str
) -> None:
    await running.app.close()
    (tmp_path / "state" / name).write_text("k" * 43)

    with pytest.raises(Exception, match="or another key made it"):
        await App(running.config, directory=tmp_path / "state").open()
