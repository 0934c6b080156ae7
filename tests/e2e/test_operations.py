"""Running a gateway: leaving in order, and reloading while requests come.

Source: architecture.md 7 to 9.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession
from gateways import Running, client, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Script

from modgate import reply_watch
from modgate.api.relay import Outcome, Usage
from modgate.kit.chat_relay import ChatRelay
from modgate.ledger.reader import rows

RELOADS = 100
LEAKS_EVERY_S = 60 / 50  # one place of a tenant's bucket of 50/min
CHAT = ask.chat(1, model="chat")


@asynccontextmanager
async def gateway(folder: Path, engine: ScriptedEngine, **more: object) -> AsyncIterator[Running]:
    """All plugins over one engine."""
    backends = [{"url": engine.url}]
    async with await start(folder, backends, **more) as running:  # type: ignore[arg-type]  # passed on
        yield running


async def got(session: ClientSession, url: str) -> tuple[int, str]:
    """Status and text of a page."""
    async with session.get(url) as reply:
        return reply.status, await reply.text()


async def begun(running: Running) -> asyncio.Task[ClientRecord]:
    """A stream, as soon as its first event has come."""
    first = asyncio.Event()
    request = ask.chat(1, model="chat", stream=True)
    sending = send(running.url, request, key=running.key, on_event=lambda *_: first.set())
    streaming = asyncio.create_task(sending)
    await asyncio.wait_for(first.wait(), 5)
    return streaming


# --- leaving


async def test_leaving_lets_a_stream_end_and_takes_no_new_connection(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(gated=True, tokens=4)
    before = asyncio.all_tasks()
    running = await start(tmp_path, [{"url": engine.url}])
    app = running.app
    streaming = await begun(running)
    async with client() as session:
        draining = asyncio.create_task(app.drain())
        await asyncio.sleep(0)
        ready = await got(session, running.admin + "/health/ready")
        with pytest.raises(ClientConnectorError):
            await got(session, running.url + "/health/live")
        going = draining.done()
        engine.release(1, 8)
        stream = await streaming
        drained = await draining
    await app.close()

    assert (ready[0], '"draining":true' in ready[1], going) == (503, True, False)
    assert (stream.ended, stream.units) == ("ok", {"llm.output_tokens": 4})
    assert drained
    assert [(row.ending, row.units["llm.output_tokens"]) for row in rows(running.ledger)] == [
        ("ok", 4)
    ]
    assert {task for task in asyncio.all_tasks() - before if task is not streaming} == set()


async def test_leaving_refuses_what_comes_on_an_open_connection(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with gateway(tmp_path, engine) as running, client() as session:
        await got(session, running.url + "/health/ready")
        running.app.state.draining = True
        ready = await got(session, running.url + "/health/ready")
        alive = await got(session, running.url + "/health/live")
        async with session.get(running.url + "/v1/models", headers=running.headers) as reply:
            refused = (reply.status, (await reply.json())["error"]["code"])
            closes = reply.headers["connection"]

    assert (ready[0], alive[0]) == (503, 200)
    assert (refused, closes.lower()) == ((503, "draining"), "close")


async def test_leaving_late_cuts_what_has_not_ended_and_says_so(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: (
        Script(gated=True) if record.tag == 1 else Script(headers_after_ms=20_000)
    )
    more = "[timeouts]\ndrain = '100ms'\n"
    async with gateway(tmp_path, engine, more=more) as running:
        streaming = await begun(running)
        waiting = asyncio.create_task(send(running.url, ask.chat(2, model="chat"), key=running.key))
        await engine.reached(2)
        drained = await running.app.drain()
        stream, whole = await streaming, await waiting

        assert (drained, running.app.state.live) == (False, 0)
    assert (stream.status, stream.ended) == (200, "error")
    assert b'"code":"draining"' in stream.body
    assert stream.body.endswith(b"data: [DONE]\n\n")
    assert (whole.status, b'"code":"draining"' in whole.body) == (503, True)
    assert sorted(
        (row.ending, row.status, row.units.get("llm.output_tokens", 0))
        for row in rows(running.ledger)
    ) == [("fault", 200, 1), ("fault", 503, 0)]


async def test_closing_waits_for_nobody_and_the_bill_is_written(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(gated=True)
    before = asyncio.all_tasks()
    running = await start(tmp_path, [{"url": engine.url}])
    streaming = await begun(running)
    async with asyncio.timeout(3):
        await running.app.close()
        stream = await streaming
    await engine.vacant()

    assert stream.ended == "error"
    assert [row.units["llm.output_tokens"] for row in rows(running.ledger)] == [1]
    assert asyncio.all_tasks() - before == set()


# --- reloading


@pytest.mark.slow
async def test_reloads_under_load_admit_no_request_more(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    tenants = {"acme": 'limits = { requests = "50/min" }'}
    statuses: Counter[int | None] = Counter()
    reloads: Counter[int] = Counter()
    async with gateway(tmp_path, engine, tenants=tenants) as running, client() as session:

        async def ask_on() -> None:
            while sum(reloads.values()) < RELOADS or sum(statuses.values()) < 100:
                reply = await send(running.url, CHAT, key=running.key)
                statuses[reply.status] += 1

        began = time.monotonic()
        asking = [asyncio.create_task(ask_on()) for _ in range(6)]
        snapshots = {id(running.app.gateway): running.app.gateway}
        for number in range(RELOADS):
            with running.config.open("a") as file:
                file.write(f"# {number}\n")
            async with session.post(running.admin + "/admin/v1/reload") as reply:
                reloads[reply.status] += 1
            snapshots[id(running.app.gateway)] = running.app.gateway
        await asyncio.gather(*asking)
        leaked = int((time.monotonic() - began) / LEAKS_EVERY_S) + 1
        taken = [slots.taken for slots in running.app.state.fleet.slots.values()]

    assert reloads == {200: RELOADS}
    assert len(snapshots) == RELOADS + 1
    assert set(statuses) == {200, 429}
    assert 50 <= statuses[200] <= 50 + leaked
    assert len(list(rows(running.ledger))) == statuses[200]
    assert taken == [0]


async def test_a_reload_keeps_slots_connections_and_the_request_in_hand(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(gated=True, tokens=3)
    async with gateway(tmp_path, engine) as running:
        streaming = await begun(running)
        slots = list(running.app.state.fleet.slots.values())
        await running.app.reload()
        again = list(running.app.state.fleet.slots.values())
        during = [each.taken for each in again]
        engine.release(1, 8)
        stream = await streaming
        after = [each.taken for each in again]

    assert again == slots
    assert (during, after) == ([1], [0])
    assert stream.ended == "ok"


BROKEN = {
    "a key that does not exist": ("[limits]\nin_flightt = 3\n", "in_flightt"),
    "no TOML": ("[limits\n", "modgate.toml"),
    "a plugin that is not there": ("[plugin.smell]\n", "smell"),
    "a modality that is not there": ('[model.nose]\nmodality = "smell"\n', "smell"),
}


@pytest.mark.parametrize("mistake", BROKEN)
async def test_a_bad_file_changes_nothing_and_the_answer_says_why(
    tmp_path: Path, engine: ScriptedEngine, mistake: str
) -> None:
    text, named = BROKEN[mistake]
    async with gateway(tmp_path, engine) as running, client() as session:
        good, snapshot = running.config.read_text(), running.app.gateway
        running.config.write_text(good + text)
        async with session.post(running.admin + "/admin/v1/reload") as reply:
            refused = (reply.status, await reply.json())
        served = await send(running.url, CHAT, key=running.key)
        kept = running.app.gateway is snapshot
        running.config.write_text(good)
        async with session.post(running.admin + "/admin/v1/reload") as reply:
            mended = await reply.json()

    assert (refused[0], refused[1]["reloaded"], kept) == (400, False, True)
    assert named in "\n".join(refused[1]["problems"])
    assert served.ended == "ok"
    assert mended == {"reloaded": True, "needs_restart": []}


async def test_a_reload_names_what_waits_for_a_restart(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    more = "\n[decoders]\nprocesses = 5\n[cors]\norigins = ['https://a.example']\n"
    async with gateway(tmp_path, engine) as running, client() as session:
        running.config.write_text(running.config.read_text() + more)
        async with session.post(running.admin + "/admin/v1/reload") as reply:
            changed = await reply.json()

    assert changed == {"reloaded": True, "needs_restart": ["decoders"]}


@pytest.mark.parametrize("gone", ["modgate.toml", "acme.keys"])
async def test_a_file_that_is_gone_is_named(
    tmp_path: Path, engine: ScriptedEngine, gone: str
) -> None:
    async with gateway(tmp_path, engine) as running, client() as session:
        (tmp_path / gone).unlink()
        async with session.post(running.admin + "/admin/v1/reload") as reply:
            refused = (reply.status, await reply.json())
        served = await send(running.url, CHAT, key=running.key)

    assert (refused[0], refused[1]["reloaded"]) == (400, False)
    assert gone in "\n".join(refused[1]["problems"])
    assert served.ended == "ok"


# --- what is kept for a crash, and what a page may read


async def test_a_request_of_a_second_is_touched_in_the_ledger(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_watch, "FIRST_TOUCH_S", 0.05)
    engine.script_for = lambda record: Script(gated=True, tokens=4)
    touched: list[dict[str, int]] = []
    async with gateway(tmp_path, engine) as running:
        ledger = running.app.state.ledger
        monkeypatch.setattr(ledger, "touched", lambda _, units: touched.append(dict(units)))
        streaming = await begun(running)
        await asyncio.sleep(0.15)
        engine.release(1, 8)
        await streaming

    assert [units["llm.output_tokens"] for units in touched] == [1]


async def test_a_touch_that_a_plugin_spoils_changes_nothing_and_the_end_is_billed(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_watch, "FIRST_TOUCH_S", 0.05)
    engine.script_for = lambda record: Script(gated=True, tokens=4)
    spoilt: list[int] = []
    async with gateway(tmp_path, engine) as running:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: spoilt.append(1))
        usage = ChatRelay.usage

        def broken(relay: ChatRelay, outcomes: Sequence[Outcome]) -> Usage:
            if not outcomes[0].ok:
                raise ValueError("counts at the end only")
            return usage(relay, outcomes)

        monkeypatch.setattr(ChatRelay, "usage", broken)
        streaming = await begun(running)
        await asyncio.sleep(0.15)
        engine.release(1, 8)
        await streaming
    [row] = rows(running.ledger)

    assert spoilt == []
    assert (row.ending, row.units["llm.output_tokens"]) == ("ok", 4)


async def test_a_page_may_send_whatever_headers_its_sdk_has(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """Source: @mistralai/mistralai 2.7, whose `x-mistral-user-agent` only Chromium sends."""
    asked = {
        "origin": "https://a.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-mistral-user-agent",
    }
    more = "\n[cors]\norigins = ['https://a.example']\n"
    async with gateway(tmp_path, engine, more=more) as running, client() as session:
        url = f"{running.url}/v1/chat/completions"
        async with session.options(url, headers=asked) as reply:
            allowed = reply.headers["access-control-allow-headers"]

    assert allowed == asked["access-control-request-headers"]


async def test_a_page_may_read_every_header_of_ours(tmp_path: Path, engine: ScriptedEngine) -> None:
    tenants = {"acme": 'limits = { units = { "llm.output_tokens" = "1000/min" } }'}
    more = "\n[cors]\norigins = ['https://a.example']\n"
    async with gateway(tmp_path, engine, tenants=tenants, more=more) as running:
        asked = CHAT.with_headers(origin="https://a.example")
        client = await send(running.url, asked, key=running.key)

    exposed = client.headers["access-control-expose-headers"].split(", ")
    ours = {name for name in client.headers if name.startswith(("x-", "openai-", "retry-"))}
    assert "x-ratelimit-remaining-output-tokens" in ours
    assert ours - set(exposed) == set()
    assert len(exposed) == len(set(exposed))


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/.well-known/jwks.json"])
async def test_a_page_may_read_what_needs_no_key(
    tmp_path: Path, engine: ScriptedEngine, path: str
) -> None:
    more = "\n[cors]\norigins = ['https://a.example']\n"
    told = {}
    async with gateway(tmp_path, engine, more=more) as running, client() as session:
        for origin in ("https://a.example", "https://b.example"):
            async with session.get(running.url + path, headers={"origin": origin}) as reply:
                told[origin] = reply.headers.get("access-control-allow-origin")

    assert told == {"https://a.example": "https://a.example", "https://b.example": None}


@pytest.mark.parametrize("more", ["", "[metrics]\ngen_ai = true\n"])
async def test_metrics_have_opentelemetrys_names_where_the_file_says_so(
    tmp_path: Path, engine: ScriptedEngine, more: str
) -> None:
    async with gateway(tmp_path, engine, more=more) as running, client() as session:
        await send(running.url, ask.embeddings(1, model="vectors"), key=running.key)
        _, metrics = await got(session, running.admin + "/metrics")

    counted = 'gen_ai_operation_name="embeddings",gen_ai_provider_name="home",gen_ai_request_model='
    assert (f"gen_ai_client_operation_duration_seconds_count{{{counted}" in metrics) is bool(more)
    assert ("gen_ai_" in metrics) is bool(more)


async def test_a_gateway_takes_as_many_files_as_the_system_lets_it(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """A stream takes two, and the limit that a shell gives is some five hundred streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(soft, hard - 1, 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        async with gateway(tmp_path, engine):
            raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert raised == (hard, hard)
