"""The listeners: TLS with files that change, the admin pages, and what wants no key.

Source: architecture.md 7 and 9.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession
from gateways import PEPPER, Running, client, configuration, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from rigs.certificates import certificate

from modgate.http.tls import Unusable
from modgate.ledger.reader import rows
from modgate.problems import ConfigError
from modgate.server import watch
from modgate.server.app import App

ADMIN_KEY = "an admin key for tests"
ENGINE_KEY = "an engine's key for tests"


# --- certificates


def use(folder: Path, name: str, *endings: str) -> None:
    """Put a certificate, its key or both where the gateway looks; never with an old time."""
    for ending in endings or ("pem", "key"):
        place = folder / f"live.{ending}"
        newer = place.stat().st_mtime + 1 if place.exists() else None
        place.write_bytes((folder / f"{name}.{ending}").read_bytes())
        if newer is not None:
            os.utime(place, (newer, newer))


async def shown(running: Running) -> bytes:
    """The certificate that a new handshake shows, as it is on the wire."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = running.app.public_address
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    await writer.wait_closed()
    return found


@pytest.fixture
def two_certificates(tmp_path: Path) -> Path:
    """`one` and `two`, of which `one` is in use; where they lie."""
    for name in ("one", "two"):
        certificate(tmp_path, name)
    use(tmp_path, "one")
    return tmp_path


def der(folder: Path, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / f"{name}.pem").read_text())


@asynccontextmanager
async def secure(folder: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    """A gateway that serves HTTPS with the certificate in use."""
    config, keys = configuration(folder, [{"url": engine.url}])
    tls = f'[listen]\ntls = {{ cert = "{folder}/live.pem", key = "{folder}/live.key" }}'
    config.write_text(config.read_text().replace("[listen]", tls, 1))
    app = App(config, directory=folder / "state")
    await app.open()
    try:
        yield Running(app, keys, config)
    finally:
        await app.close()


async def test_a_request_is_served_over_tls(two_certificates: Path, engine: ScriptedEngine) -> None:
    context = ssl.create_default_context(cafile=str(two_certificates / "one.pem"))
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
    async with secure(two_certificates, engine) as running, client() as session:
        url = f"https://localhost:{running.app.public_address[1]}/v1/chat/completions"
        async with session.post(url, json=body, headers=running.headers, ssl=context) as reply:
            said = (reply.status, (await reply.json())["usage"]["completion_tokens"])
        plain = await send(running.url, ask.chat(1, model="chat"), key=running.key, within_s=5)

    assert said == (200, 8)
    assert plain.status is None


async def test_a_changed_certificate_is_shown_to_the_next_handshake(
    two_certificates: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.02)
    async with secure(two_certificates, engine) as running:
        first = await shown(running)
        use(two_certificates, "two")
        async with asyncio.timeout(5):
            while (second := await shown(running)) == first:
                pass

    assert first == der(two_certificates, "one")
    assert second == der(two_certificates, "two")


async def test_a_file_that_changed_with_half_a_certificate_is_read_at_the_other_half(
    two_certificates: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.02)
    async with secure(two_certificates, engine) as running:
        use(two_certificates, "two", "key")
        running.config.write_text(running.config.read_text() + "[cors]\norigins = ['*']\n")
        with pytest.raises(ConfigError, match=r"listen\.tls\.key: .* is not the key of"):
            await running.app.reload()
        await asyncio.sleep(0.06)
        before = running.app.gateway.cors.origins
        use(two_certificates, "two", "pem")
        async with asyncio.timeout(5):
            while not running.app.gateway.cors.origins:
                await shown(running)

    assert before == ()


@pytest.mark.parametrize("half", ["pem", "key"])
async def test_half_a_change_keeps_the_old_certificate_until_the_other_half(
    two_certificates: Path, engine: ScriptedEngine, half: str
) -> None:
    async with secure(two_certificates, engine) as running:
        tls = running.app.public.tls
        assert tls is not None
        use(two_certificates, "two", half)
        with pytest.raises(Unusable, match=r"live\.key is not the key of .*live\.pem"):
            tls.refresh()
        between = await shown(running)
        use(two_certificates, "two", "pem" if half == "key" else "key")
        changed = (tls.refresh(), tls.refresh())
        after = await shown(running)

    assert between == der(two_certificates, "one")
    assert changed == (True, False)
    assert after == der(two_certificates, "two")


async def test_a_certificate_with_the_time_of_the_old_one_is_another_all_the_same(
    two_certificates: Path, engine: ScriptedEngine
) -> None:
    async with secure(two_certificates, engine) as running:
        for ending in ("pem", "key"):
            place, other = (two_certificates / f"{name}.{ending}" for name in ("live", "two"))
            time = place.stat().st_mtime_ns
            os.utime(other, ns=(time, time))
            other.replace(place)
        running.app.public.refresh()
        after = await shown(running)

    assert after == ssl.PEM_cert_to_DER_cert((two_certificates / "live.pem").read_text())
    assert after != der(two_certificates, "one")


async def test_a_certificate_that_is_not_usable_is_told_once_with_its_file(
    two_certificates: Path, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "modgate.server.listeners")
    async with secure(two_certificates, engine) as running:
        place = two_certificates / "live.key"
        whole = place.read_bytes()
        place.unlink()
        for _ in range(3):
            running.app.public.refresh()
        told = [record.__dict__["reason"] for record in caplog.records]
        place.write_bytes(whole)
        running.app.public.refresh()
        last = caplog.records[-1].getMessage()

    assert told == [f"{place} cannot be read: no such file or directory"]
    assert last == "certificate read again"


# --- the admin listener


async def page(
    session: ClientSession, url: str, method: str = "GET", **more: object
) -> tuple[int, str]:
    """Status and text of a page."""
    async with session.request(method, url, **more) as reply:  # type: ignore[arg-type]  # passed on
        return reply.status, await reply.text()


async def test_the_admin_pages_tell_what_is_going_on(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running, client() as session:
        await send(running.url, ask.chat(1, model="chat"), key=running.key)
        metrics = await page(session, running.admin + "/metrics")
        ready = await page(session, running.admin + "/health/ready")
        backends = await page(session, running.admin + "/admin/v1/backends")
        missing = await page(session, running.admin + "/admin/v1/nothing")
        wrong = await page(session, running.admin + "/admin/v1/reload")

    assert metrics[0] == 200
    for name in ("modgate_ledger_writable 1", 'modgate_backend_slots_taken{backend="b0"} 0'):
        assert name in metrics[1]
    assert "acme" in metrics[1]
    assert (ready[0], '"ready":true' in ready[1]) == (200, True)
    assert (backends[0], '"name":"b0"' in backends[1]) == (200, True)
    assert (missing[0], "GET /metrics" in missing[1]) == (404, True)
    assert wrong[0] == 404


async def test_no_admin_page_shows_a_secret(tmp_path: Path, engine: ScriptedEngine) -> None:
    (tmp_path / "engine.key").write_text(ENGINE_KEY)
    (tmp_path / "admin.key").write_text(ADMIN_KEY)
    config, keys = configuration(tmp_path, [{"url": engine.url}])
    text = config.read_text().replace(
        "[admin]", f'[admin]\nkey = {{ file = "{tmp_path}/admin.key" }}', 1
    )
    secret = f'name = "b0"\nkey = {{ file = "{tmp_path}/engine.key" }}'
    config.write_text(text.replace('name = "b0"', secret, 1))
    app = App(config, directory=tmp_path / "state")
    await app.open()
    running = Running(app, keys, config)
    try:
        async with client() as session:
            good = {"Authorization": f"Bearer {ADMIN_KEY}"}
            await send(running.url, ask.chat(1, model="chat"), key=running.key)
            paths = ["/metrics", "/health/ready", "/admin/v1/config", "/admin/v1/backends"]
            without = [await page(session, running.admin + path) for path in paths]
            pages = [await page(session, running.admin + path, headers=good) for path in paths]
    finally:
        await app.close()

    assert [status for status, _ in without] == [401] * 4
    assert [status for status, _ in pages] == [200] * 4
    for hidden in (PEPPER, ADMIN_KEY, ENGINE_KEY, *keys.values()):
        assert [text for _, text in pages if hidden in text] == []
    for key in ("auth.pepper", "admin.key", "backend[0].key"):
        assert f'{{"key":"{key}","value":"***"' in pages[2][1]


# --- what anybody may ask


async def test_health_and_the_front_page_want_no_key_and_are_not_billed(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running, client() as session:
        live = await page(session, running.url + "/health/live")
        ready = await page(session, running.url + "/health/ready")
        front = await page(session, running.url + "/")
        head = await page(session, running.url + "/", "HEAD")
        posted = await page(session, running.url + "/", "POST")
        metrics = await page(session, running.url + "/metrics")

    assert (live, ready) == ((200, '{"status":"ok"}'), (200, '{"status":"ok"}'))
    assert (front[0], "AI gateway" in front[1]) == (200, True)
    assert (head, posted[0], metrics[0]) == ((200, ""), 405, 404)
    assert list(rows(running.ledger)) == []


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/.well-known/jwks.json"])
async def test_what_wants_no_key_takes_get_only(
    tmp_path: Path, engine: ScriptedEngine, path: str
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running, client() as session:
        async with session.get(running.url + path + "/") as slashed:
            assert slashed.status == 200
        async with session.post(running.url + path, json={}) as reply:
            told = await reply.json()

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert told["error"]["code"] == "method_not_supported"
