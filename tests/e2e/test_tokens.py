"""Callers who come with a token of their own identity provider, over real sockets and real TLS."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from gateways import Running, client, start
from oracle.engine import ScriptedEngine
from rigs.certificates import certificate
from rigs.issuing import AUDIENCE, KINDS, NAME, Signing

from modgate.auth.keyset import COOLDOWN_S


class IdentityProvider:
    """A server of keys over HTTPS; `asked` counts who came."""

    def __init__(self, folder: Path) -> None:
        self.signing = Signing()
        self.asked = 0
        self.status = 200
        self.folder = folder
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[IdentityProvider]:
        certificate(self.folder, "idp")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.folder / "idp.pem", self.folder / "idp.key")
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        await web.TCPSite(runner, "localhost", 0, ssl_context=tls).start()
        self.url = f"https://localhost:{runner.addresses[0][1]}/jwks.json"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        del request
        self.asked += 1
        return web.Response(body=self.signing.document(), status=self.status)

    def section(self, more: str = "") -> str:
        return f"""
[auth.jwt.corp]
issuer = "{NAME}"
audience = "{AUDIENCE}"
jwks = "{self.url}"
ca = "{self.folder}/idp.pem"
role_claim = "groups"
roles = {{ "gw-ops" = "operator", "gw-admins" = "admin" }}
{more}"""


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(tmp_path).running() as running:
        yield running


@asynccontextmanager
async def gateway(
    folder: Path, engine: ScriptedEngine, provider: IdentityProvider
) -> AsyncIterator[Running]:
    async with await start(folder, [{"url": engine.url}], more=provider.section()) as running:
        yield running


async def status(session: ClientSession, url: str, token: str) -> int:
    async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as reply:
        await reply.read()
        return reply.status


async def test_real_tokens_of_each_algorithm_are_taken_with_one_question_to_the_issuer(
    tmp_path: Path, engine: ScriptedEngine, provider: IdentityProvider
) -> None:
    async with gateway(tmp_path, engine, provider) as running, client() as session:
        url = f"{running.url}/v1/models"
        tokens = [provider.signing.token(time.time(), kid=f"key-{kind}") for kind in KINDS] * 5
        told = await asyncio.gather(*(status(session, url, token) for token in tokens))
        async with session.post(
            f"{running.url}/v1/chat/completions",
            json={"model": "chat", "messages": [{"role": "user", "content": "hi"}]},
            headers={"Authorization": f"Bearer {tokens[0]}"},
        ) as reply:
            chat = reply.status

    assert set(told) == {200}
    assert chat == 200
    assert provider.asked == 1


@pytest.mark.slow
async def test_a_flood_of_made_up_key_ids_over_sockets_asks_the_issuer_once_more_at_most(
    tmp_path: Path, engine: ScriptedEngine, provider: IdentityProvider
) -> None:
    async with gateway(tmp_path, engine, provider) as running, client() as session:
        url, now = f"{running.url}/v1/models", time.time()
        began = time.monotonic()
        good = [provider.signing.token(now, jti=str(number)) for number in range(40)]
        made_up = [
            provider.signing.token(now, header={"kid": f"made up {number}"})
            for number in range(1000)
        ]
        sent = [each for n, bad in enumerate(made_up) for each in (bad, *good[n : n + 1])]
        told = await asyncio.gather(*(status(session, url, token) for token in sent))
        took_s = time.monotonic() - began
    statuses = Counter(zip((token in good for token in sent), told, strict=True))

    assert statuses[True, 200] == len(good)
    assert statuses[False, 401] + statuses[False, 429] == 1000
    assert provider.asked <= 1 + took_s / COOLDOWN_S


async def test_a_certificate_of_somebody_else_gives_no_keys(
    tmp_path: Path, engine: ScriptedEngine, provider: IdentityProvider
) -> None:
    section = provider.section().replace("idp.pem", "other.pem")
    certificate(tmp_path, "other")
    async with (
        await start(tmp_path, [{"url": engine.url}], more=section) as running,
        client() as session,
    ):
        url = f"{running.url}/v1/models"
        told = await status(session, url, provider.signing.token(time.time()))

    assert told == 503
    assert provider.asked == 0


async def test_an_admin_comes_with_a_token_and_a_tenant_does_not_get_there(
    tmp_path: Path, engine: ScriptedEngine, provider: IdentityProvider
) -> None:
    (tmp_path / "root").write_text("a root key")
    config = tmp_path / "modgate.toml"
    async with gateway(tmp_path, engine, provider) as running, client() as session:
        text = config.read_text()
        key = f'[admin]\nkey = {{ file = "{tmp_path}/root" }}'
        config.write_text(text.replace("[admin]", key, 1))
        await running.app.reload()
        url, now = f"{running.admin}/admin/v1/config", time.time()
        told = [
            await status(session, url, provider.signing.token(now, groups=groups))
            for groups in (["gw-admins"], ["gw-ops"], ["else"])
        ]
        without = await status(session, url, "nonsense")
        public = await status(
            session, f"{running.url}/v1/models", provider.signing.token(now, groups=["gw-ops"])
        )

    assert (told, without, public) == ([200, 200, 403], 401, 403)


async def test_an_issuer_that_was_taken_out_of_the_file_opens_nothing_any_more(
    tmp_path: Path, engine: ScriptedEngine, provider: IdentityProvider
) -> None:
    async with gateway(tmp_path, engine, provider) as running, client() as session:
        url, token = f"{running.url}/v1/models", provider.signing.token(time.time())
        before = await status(session, url, token)
        text = running.config.read_text()
        running.config.write_text(text.replace(provider.section(), ""))
        waiting = await running.app.reload()
        after = await status(session, url, token)

    assert (before, after, waiting) == (200, 401, ())


async def test_a_token_of_a_tenant_of_the_store_is_good_as_long_as_the_tenant_is_there(
    tmp_path: Path, engine: ScriptedEngine, provider: IdentityProvider
) -> None:
    async with gateway(tmp_path, engine, provider) as running, client() as session:
        url, now = f"{running.url}/v1/models", time.time()
        tenant = f"{running.admin}/admin/v1/tenants/fresh"
        tokens = [provider.signing.token(now, tenant="fresh", jti=str(n)) for n in range(2)]
        told = [await status(session, url, tokens[0])]
        async with session.put(tenant, json={"models": ["chat"]}) as reply:
            assert reply.status in (200, 201), await reply.text()
        told += [await status(session, url, token) for token in tokens]
        async with session.delete(tenant) as reply:
            assert reply.status in (200, 204), await reply.text()
        told += [await status(session, url, token) for token in tokens]

    assert told == [401, 200, 200, 401, 401]
