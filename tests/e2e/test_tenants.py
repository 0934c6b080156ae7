"""Tenants and keys through the admin API: checked, in effect at once, and on every gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout
from click.testing import CliRunner
from gateways import Running, configuration, start
from oracle.engine import ScriptedEngine

from modgate.api.json import Json, JsonObject
from modgate.auth.store import REMOVED, Store
from modgate.cli import main
from modgate.server.app import App

CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
SEEN_WITHIN_S = 5.0
OWN_LIMIT = {"limits": {"requests": "3/hour"}}
KEY_LIMIT = {"limits": {"requests": "1/hour"}}


class Client:
    """Asks one gateway's admin API, and its public listener with some key."""

    def __init__(self, running: Running, session: ClientSession) -> None:
        self.running = running
        self._session = session

    async def admin(self, method: str, path: str, body: Json = None) -> tuple[int, JsonObject]:
        url = f"{self.running.admin}/admin/v1/{path}"
        async with self._session.request(method, url, json=body) as reply:
            return reply.status, await reply.json()

    async def key(self, tenant: str, **more: Json) -> JsonObject:
        """A new key."""
        status, made = await self.admin("POST", "keys", {"tenant": tenant, **more})
        assert status == 200, made
        return made

    async def status(self, key: str, model: str = "chat") -> int:
        """What a request with this key gets."""
        url, body = f"{self.running.url}/v1/chat/completions", {**CHAT, "model": model}
        headers = {"Authorization": f"Bearer {key}"}
        async with self._session.post(url, json=body, headers=headers) as reply:
            await reply.read()
            return reply.status


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(timeout=ClientTimeout(total=10)) as opened:
        yield opened


@pytest.fixture
async def client(
    tmp_path: Path, engine: ScriptedEngine, session: ClientSession
) -> AsyncIterator[Client]:
    more = '[slo.gold.llm]\ntotal = { base = "9s" }'
    backend = {"url": engine.url, "region": "eu"}
    async with await start(tmp_path, [backend], more=more) as running:
        yield Client(running, session)


async def test_a_new_tenants_key_is_good_at_once_and_refused_once_revoked(client: Client) -> None:
    await client.admin("PUT", "tenants/beta", {"models": ["chat"], "slo": "gold"})
    made = await client.key("beta", name="ci")
    before = [await client.status(made["key"]), await client.status(made["key"], "eyes")]
    status, shown = await client.admin("POST", f"keys/{made['id']}/revoke")

    assert before == [200, 404]
    assert (status, shown["tenant"], bool(shown["revoked"])) == (200, "beta", True)
    assert await client.status(made["key"]) == 401
    assert await client.status(client.running.key) == 200


async def test_a_key_is_shown_once_and_listed_by_its_last_characters(client: Client) -> None:
    made = await client.key("acme", name="ci")
    secret = made["key"].split("_")[3]
    _, listed = await client.admin("GET", "keys")
    _, tenant = await client.admin("GET", "tenants/acme")

    [of_file, of_store] = listed["keys"]
    assert (of_file["declared"], of_store["declared"]) == ("file", "store")
    assert of_store["last4"] == made["key"][-4:]
    assert tenant["keys"] == [of_file["id"], of_store["id"]]
    assert secret not in str(listed) + str(tenant)
    assert await client.status(made["key"]) == 200


async def test_every_mistake_of_a_body_is_told_at_once_in_the_files_words(client: Client) -> None:
    grant = {
        "models": ["chatt"],
        "regions": ["us"],
        "modalities": ["lmm"],
        "slo": "golden",
        "raw_engine_field": True,
        "keys": {"file": "/etc/shadow"},
        "limits": {"requests": "often", "units": {"llm.output_token": "5/s"}},
    }
    status, answer = await client.admin("PUT", "tenants/beta", grant)
    _, listed = await client.admin("GET", "tenants")

    told = "\n".join(answer["problems"])
    assert status == 400
    assert len(answer["problems"]) == 8
    for part in (
        "tenant.beta.models[0]: no [model.chatt]; did you mean 'chat'?",
        "tenant.beta.regions[0]: no backend stands in 'us'",
        "tenant.beta.modalities[0]: no model is of the modality 'lmm'; did you mean 'llm'?",
        "tenant.beta.slo: no [slo.golden]; did you mean 'gold'?",
        "tenant.beta.raw_engine_field: unknown key; did you mean 'raw_engine_fields'?",
        "tenant.beta.keys: is for a tenant of the file",
        'tenant.beta.limits.requests: a rate reads "50/s"',
        "tenant.beta.limits.units.llm.output_token: unknown unit; did you mean",
    ):
        assert part in told
    assert [each["name"] for each in listed["tenants"]] == ["acme"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "part"),
    [
        ("PUT", "tenants/a b", {}, 400, "a tenant's name is"),
        ("PUT", "tenants/demo", {}, 400, "a tenant's name is"),
        ("PUT", "tenants/beta", [], 400, "body: is not a JSON object"),
        ("PATCH", "tenants/beta", {}, 404, "no tenant 'beta'"),
        ("DELETE", "tenants/beta", None, 404, "no tenant 'beta'"),
        ("POST", "keys", {}, 400, "tenant: is required"),
        ("POST", "keys", {"tenant": "acme", "nam": "x"}, 400, "nam: unknown key; did you mean"),
        ("POST", "keys", {"tenant": "beta"}, 404, "no tenant 'beta'"),
        ("POST", "keys", {"tenant": "acme", "env": "A1"}, 400, "env: the environment in a key"),
        ("POST", "keys", {"tenant": "acme", "name": "a\nb"}, 400, "name: a key's name is one line"),
        ("POST", "keys", {"tenant": "acme", "grant": {"models": ["x"]}}, 400, "models[0]: no [mo"),
        ("POST", "keys/abcdefghijkl/revoke", None, 404, "no key 'abcdefghijkl'"),
        ("POST", "keys/abcdefghijkl/rotate", {"grace": "soon"}, 400, "grace: a duration reads"),
        ("GET", "tenants/beta/keys", None, 404, "no such admin page"),
    ],
)
async def test_what_cannot_be_done_is_told_with_its_reason(
    client: Client, method: str, path: str, body: Json, status: int, part: str
) -> None:
    found, answer = await client.admin(method, path, body)

    assert (found, part in str(answer)) == (status, True), answer


async def test_what_a_file_declares_is_changed_in_that_file_only(client: Client) -> None:
    _, listed = await client.admin("GET", "keys")
    of_file = listed["keys"][0]["id"]
    answers = [
        await client.admin("PUT", "tenants/acme", {}),
        await client.admin("PATCH", "tenants/acme", {}),
        await client.admin("DELETE", "tenants/acme"),
        await client.admin("DELETE", f"keys/{of_file}"),
        await client.admin("POST", f"keys/{of_file}/rotate"),
    ]

    assert [status for status, _ in answers] == [409] * 5
    assert all(f"{client.running.config}:" in each["error"] for _, each in answers[:3])
    assert all("acme.keys; change it there" in each["error"] for _, each in answers[3:])
    assert await client.status(client.running.key) == 200


async def test_a_change_of_a_tenant_keeps_its_level_and_all_that_runs(client: Client) -> None:
    await client.admin("PUT", "tenants/beta", OWN_LIMIT)
    made = await client.key("beta")
    before = client.running.app.gateway
    spent = [await client.status(made["key"]) for _ in range(3)]
    await client.admin("PATCH", "tenants/beta", {"limits": {"requests": "4/hour"}})
    after = client.running.app.gateway

    assert spent == [200, 200, 200]
    assert [await client.status(made["key"]) for _ in range(2)] == [200, 429]
    assert after is not before
    assert after.fleet is before.fleet
    assert after.dispatch is before.dispatch
    assert after.batcher is before.batcher


async def test_a_key_may_use_less_than_its_tenant_and_never_more(client: Client) -> None:
    await client.admin("PUT", "tenants/beta", {"modalities": ["llm", "vlm"]})
    less = await client.key("beta", grant={"modalities": ["llm"], **KEY_LIMIT})
    other = await client.key("beta")
    status, refused = await client.admin(
        "POST", "keys", {"tenant": "beta", "grant": {"models": ["ears"]}}
    )

    assert (status, refused["problems"][0].split(": ", 1)[1]) == (
        400,
        "'ears' is no model of the tenant",
    )
    assert await client.status(less["key"], "eyes") == 404
    assert await client.status(other["key"], "eyes") == 200
    assert await client.status(less["key"]) == 429  # a refused request is charged, too
    assert await client.status(other["key"]) == 200


async def test_a_tenant_is_not_left_with_less_than_a_key_of_it_names(client: Client) -> None:
    await client.admin("PUT", "tenants/later", {"models": ["chat", "vectors"]})
    made = await client.key("later", grant={"models": ["vectors"]})
    status, told = await client.admin("PATCH", "tenants/later", {"models": ["chat"]})
    _, kept = await client.admin("GET", "tenants/later")
    await client.admin("POST", f"keys/{made['id']}/revoke")
    after, _ = await client.admin("PATCH", "tenants/later", {"models": ["chat"]})

    where = f"tenant.later.key.{made['id']}.models[0]"
    assert (status, told["problems"]) == (400, [f"{where}: 'vectors' is no model of the tenant"])
    assert kept["grant"] == {"models": ["chat", "vectors"]}
    assert after == 200


async def test_during_a_rotation_both_secrets_are_good(client: Client) -> None:
    made = await client.key("acme")
    _, turned = await client.admin("POST", f"keys/{made['id']}/rotate", {"grace": "1h"})
    both = [await client.status(each["key"]) for each in (made, turned)]
    _, last = await client.admin("POST", f"keys/{made['id']}/rotate", {"grace": 0})

    assert turned["id"] == made["id"]
    assert turned["rotating_until"] > time.time() + 3000
    assert both == [200, 200]
    assert [await client.status(each["key"]) for each in (made, turned, last)] == [401, 401, 200]


async def test_the_end_of_a_rotation_needs_nobody(client: Client) -> None:
    made = await client.key("acme")
    await client.admin("POST", f"keys/{made['id']}/rotate", {"grace": "500ms"})
    assert await client.status(made["key"]) == 200

    assert await _becomes(client, made["key"], 401) < SEEN_WITHIN_S


async def test_a_deleted_tenants_keys_are_refused(client: Client) -> None:
    await client.admin("PUT", "tenants/beta", {})
    made = await client.key("beta")
    _, answer = await client.admin("DELETE", "tenants/beta")
    await client.admin("PUT", "tenants/beta", {})

    assert answer == {"deleted": "beta", "revoked_keys": 1}
    assert await client.status(made["key"]) == 401


async def test_a_file_that_takes_what_a_stored_tenant_names_is_refused(client: Client) -> None:
    running = client.running
    await client.admin("PUT", "tenants/beta", {"models": ["eyes"]})
    made = await client.key("beta")
    text = running.config.read_text()
    gone = text.replace('[model.eyes]\nmodality = "vlm"\n', "")
    running.config.write_text(gone.replace('eyes = "engine-eyes", ', ""))
    status, answer = await client.admin("POST", "reload")

    assert status == 400
    assert answer["problems"] == ["the store of tenants: tenant.beta.models[0]: no [model.eyes]"]
    assert await client.status(made["key"], "eyes") == 200


async def test_the_file_counts_where_it_has_a_tenant_of_the_store_too(client: Client) -> None:
    running = client.running
    await client.admin("PUT", "tenants/beta", {"models": ["eyes"]})
    made = await client.key("beta")
    with running.config.open("a") as file:
        file.write('[tenant.beta]\nmodels = ["chat"]\n')
    await client.admin("POST", "reload")
    _, shown = await client.admin("GET", "tenants/beta")

    assert shown["declared"].startswith(str(running.config))
    assert shown["grant"] == {"models": ["chat"]}
    assert [await client.status(made["key"], each) for each in ("chat", "eyes")] == [200, 404]


async def test_what_is_stored_outlives_the_gateway(
    client: Client, tmp_path: Path, session: ClientSession
) -> None:
    await client.admin("PUT", "tenants/beta", {"models": ["chat"]})
    made = await client.key("beta")
    await client.running.app.close()
    app = App(client.running.config, directory=tmp_path / "state")
    await app.open()
    again = Client(Running(app, client.running.keys, client.running.config), session)
    status = await again.status(made["key"])
    await app.close()

    assert status == 200


async def test_a_store_that_does_not_answer_costs_no_request(client: Client) -> None:
    made = await client.key("acme")
    app = client.running.app
    app.tenancy.store.close()
    statuses = [await client.status(made["key"]) for _ in range(3)]
    await app.tenancy.look()
    changed, answer = await client.admin("PUT", "tenants/beta", {})

    assert statuses == [200, 200, 200]
    assert (changed, "tenants.db cannot be used" in answer["error"]) == (503, True)


async def test_a_store_that_is_removed_takes_nobody_away_and_one_in_its_place_counts(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    made = await client.key("acme")
    app = client.running.app
    store = app.tenancy.store.path
    store.rename(store.with_name("away"))
    await app.tenancy.look()
    without = await client.status(made["key"])
    changed, answer = await client.admin("POST", "keys", {"tenant": "acme"})
    said = [record.__dict__.get("reason", "") for record in caplog.records]
    command = ["keys", "list", "--config", str(client.running.config)]
    command += ["--directory", str(store.parent)]
    listed = await asyncio.to_thread(CliRunner().invoke, main, command)
    made_anew = store.exists()
    Store(store).close()
    await app.tenancy.look()
    replaced = await client.status(made["key"])
    new = await client.key("acme")

    assert (without, changed, replaced) == (200, 503, 401)
    assert answer["error"] == f"{store} {REMOVED}"
    assert answer["error"] in said
    assert (REMOVED in listed.output, made_anew) == (True, False)
    assert await client.status(new["key"]) == 200


async def test_a_keys_grant_is_changed_and_its_secret_stays(client: Client) -> None:
    made = await client.key("acme", name="ci")
    status, shown = await client.admin("PATCH", f"keys/{made['id']}", {"grant": {"models": []}})
    refused, answer = await client.admin(
        "PATCH", f"keys/{made['id']}", {"name": "x", "grant": {"models": ["chatt"]}}
    )

    assert (status, shown["grant"], shown["name"]) == (200, {"models": []}, "ci")
    assert await client.status(made["key"]) == 404
    assert (refused, "did you mean 'chat'?" in str(answer["problems"])) == (400, True)


async def test_a_key_revoked_at_one_gateway_is_refused_by_the_other_within_five_seconds(
    tmp_path: Path, engine: ScriptedEngine, session: ClientSession
) -> None:
    path, keys = configuration(tmp_path, [{"url": engine.url}])
    shared = f'[auth]\nstore = "{tmp_path / "shared.db"}"\n'
    path.write_text(path.read_text().replace("[auth]\n", shared))
    apps = [App(path, directory=tmp_path / name) for name in ("one", "two")]
    for app in apps:
        await app.open()
    one, two = (Client(Running(app, keys, path), session) for app in apps)
    try:
        made = await one.key("acme")
        known_s = await _becomes(two, made["key"], 200)
        await one.admin("DELETE", f"keys/{made['id']}")
        here = await one.status(made["key"])
        gone_s = await _becomes(two, made["key"], 401)
    finally:
        for app in apps:
            await app.close()

    assert here == 401
    assert known_s < SEEN_WITHIN_S
    assert gone_s < SEEN_WITHIN_S


async def _becomes(client: Client, key: str, status: int) -> float:
    """Seconds until a key gets this status; twice the bound when it never does."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 2 * SEEN_WITHIN_S:
        if await client.status(key) == status:
            return passed
        await asyncio.sleep(0.1)
    return passed


async def test_a_body_that_breaks_off_changes_nothing_and_is_no_error_of_ours(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = client.running.app.admin_address
    _, writer = await asyncio.open_connection(host, port)
    head = "PUT /admin/v1/tenants/late HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode() + b"{}")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.sleep(0.1)

    assert (await client.admin("GET", "tenants/late"))[0] == 404
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []
