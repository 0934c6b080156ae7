"""Callers that a plugin knows: opaque tokens, introspected at a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiohttp import ClientSession, web
from gateways import Running, client, start
from made_plugins import plugin
from oracle.engine import ScriptedEngine
from toys.introspect import Introspect

from modgate.plugin import Asking, Credential, Lookup
from modgate.problems import ConfigError

CLIENT_TOKEN = "what the gateway is known by"
TOKENS = {
    "at_acme": {"active": True, "org": "acme", "client_id": "web"},
    "at_beta": {"active": True, "org": "beta"},
    "at_stranger": {"active": True, "org": "nobody"},
    "at_old": {"active": False, "org": "acme"},
}


class Broken(Introspect):
    name = "broken"

    def authenticate(self, credential: Credential) -> Asking | None:
        raise RuntimeError(f"cannot read {credential.secret.reveal()}")


class Astray(Introspect):
    name = "astray"

    def ask(self, token: str) -> Asking:
        yield Lookup(url="http://169.254.169.254/latest")
        return None


class Introspection:
    """The server that gave the tokens out."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.url = ""
        self.came = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Introspection]:
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/introspect"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.headers["authorization"] == f"Bearer {CLIENT_TOKEN}"
        [token] = parse_qs((await request.read()).decode())["token"]
        self.asked.append(token)
        self.came.set()
        await self.gate.wait()
        body = json.dumps(TOKENS.get(token, {"active": False}))
        return web.Response(text=body, status=self.status, content_type="application/json")


@pytest.fixture
async def server() -> AsyncIterator[Introspection]:
    async with Introspection().running() as running:
        yield running


@asynccontextmanager
async def gateway(
    folder: Path, engine: ScriptedEngine, url: str, kind: str = "introspect", more: str = ""
) -> AsyncIterator[Running]:
    (folder / "token").write_text(CLIENT_TOKEN)
    section = f'[plugin.partner]\n[auth.plugin.{kind}]\nurl = "{url}"\n'
    section += f'token = {{ file = "{folder}/token" }}\n{more}'
    async with await start(
        folder,
        [{"url": engine.url}],
        extra={"partner": plugin(modgate_authenticators=[Introspect, Broken, Astray])},
        tenants={"acme": "", "beta": ""},
        more=section,
    ) as running:
        yield running


async def told(session: ClientSession, url: str, token: str) -> int:
    async with session.get(f"{url}/v1/models", headers={"x-api-key": token}) as reply:
        await reply.read()
        return reply.status


async def test_an_opaque_token_is_its_tenants_and_is_looked_up_once(
    tmp_path: Path, engine: ScriptedEngine, server: Introspection
) -> None:
    async with gateway(tmp_path, engine, server.url) as running, client() as session:
        server.gate.clear()
        many = [asyncio.ensure_future(told(session, running.url, "at_acme")) for _ in range(20)]
        await server.came.wait()
        server.gate.set()
        at_once = await asyncio.gather(*many)
        after = await told(session, running.url, "at_acme")
        caller = running.app.gateway.gate.cache
        own = await told(session, running.url, running.key)

    assert at_once == [200] * 20
    assert (after, own) == (200, 200)
    assert server.asked == ["at_acme"]
    assert next(each.key_id for _, each in vars(caller)["_known"].values()) == "introspect:web"


async def test_what_is_refused_is_401_and_what_is_not_asked_for_costs_no_lookup(
    tmp_path: Path, engine: ScriptedEngine, server: Introspection
) -> None:
    async with gateway(tmp_path, engine, server.url) as running, client() as session:
        sent = ["at_old", "at_stranger", "at_unknown", "opaque", "mg_test_x", "a.b.c"]
        statuses = [await told(session, running.url, each) for each in sent]
        async with session.get(
            f"{running.admin}/admin/v1/config", headers={"x-api-key": "at_acme"}
        ) as reply:
            open_admin = reply.status

    assert statuses == [401] * len(sent)
    assert server.asked == ["at_old", "at_stranger", "at_unknown"]
    assert open_admin == 200  # no key was configured for it, so none is looked at


async def test_it_lets_in_only_the_tenants_that_its_section_names(
    tmp_path: Path, engine: ScriptedEngine, server: Introspection
) -> None:
    more = 'tenants = ["beta"]'
    async with gateway(tmp_path, engine, server.url, more=more) as running, client() as session:
        statuses = [await told(session, running.url, each) for each in ("at_acme", "at_beta")]

    assert statuses == [401, 200]


async def test_a_server_that_is_away_is_503_for_its_callers_only(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    url = "http://127.0.0.1:1/introspect"
    async with gateway(tmp_path, engine, url) as running, client() as session:
        statuses = [await told(session, running.url, each) for each in ("at_acme", running.key)]
        bearer = {"authorization": "Bearer at_acme"}
        async with session.get(f"{running.url}/v1/models", headers=bearer) as reply:
            error = (await reply.json())["error"]

    assert statuses == [503, 200]
    assert error["code"] == "dependency_unavailable"


async def test_an_authenticator_that_breaks_tells_nobody_the_credential(
    tmp_path: Path,
    engine: ScriptedEngine,
    server: Introspection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    async with gateway(tmp_path, engine, server.url, "broken") as running, client() as session:
        status = await told(session, running.url, "at_canary-of-a-token")
    said = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)

    assert status == 500
    assert "RuntimeError" in said
    assert "test_authenticators.py" in said
    assert "canary" not in said + caplog.text


async def test_a_lookup_elsewhere_never_leaves(
    tmp_path: Path, engine: ScriptedEngine, server: Introspection
) -> None:
    async with gateway(tmp_path, engine, server.url, "astray") as running, client() as session:
        status = await told(session, running.url, "at_acme")

    assert status == 500
    assert server.asked == []


async def test_mistakes_in_its_section_have_their_place(
    tmp_path: Path, engine: ScriptedEngine, server: Introspection
) -> None:
    with pytest.raises(ConfigError) as caught:
        async with gateway(tmp_path, engine, server.url, "introspekt", "tenant_feild = 1"):
            pass
    with pytest.raises(ConfigError) as other:
        async with gateway(tmp_path, engine, server.url, more="tenant_feild = 1"):
            pass

    assert "did you mean 'introspect'" in str(caught.value)
    assert "auth.plugin.introspect.tenant_feild: unknown key" in str(other.value)
    assert "tenant_field" in str(other.value)
