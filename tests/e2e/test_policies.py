"""What an operator's policies do to a request, and to its bill.

The gateway is real, the engines are scripted, and the ledger is read from disk.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, Leave, send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Refusal, Script
from oracle.record import Record
from toys.rulings import HOUSE, TOKENS

from modgate.ledger.reader import rows
from modgate.ledger.records import Ended

ASKS = '[policy.guard]\nkind = "asks"\nmodel = "vectors"\n'


@asynccontextmanager
async def house(
    folder: Path,
    engine: ScriptedEngine,
    policies: str,
    *,
    tenant: str = "",
    backends: tuple[Mapping[str, object], ...] = ({},),
) -> AsyncIterator[Running]:
    """A gateway with an llm, an embedding model, and these policies."""
    made = [{"url": engine.url, **each} for each in backends]
    running = await start(
        folder,
        made,
        tenants={"acme": tenant},
        plugins=("llm", "embedding", "house"),
        extra={"house": HOUSE},
        more=policies,
    )
    try:
        yield running
    finally:
        await running.app.close()


async def chat(running: Running, **more: object) -> ClientRecord:
    stream = bool(more.pop("stream", False))
    request = ask.chat(1, model="chat", max_tokens=5, stream=stream, **more)
    return await send(running.url, request, key=running.key)


def error(client: ClientRecord) -> dict[str, object]:
    found: dict[str, object] = json.loads(client.body)["error"]
    return found


def billed(running: Running) -> Ended:
    [row] = rows(running.ledger)
    return row


def units(row: Ended) -> dict[str, int]:
    """What of a bill a modality counts; the request and its bytes are every request's."""
    usual = ("requests", "bytes_in", "bytes_out")
    return {name: n for name, n in row.units.items() if name.partition(".")[2] not in usual}


def paths(engine: ScriptedEngine) -> list[str]:
    return [record.path for record in engine.records]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 403])
async def test_a_denied_request_is_refused_in_the_clients_words_and_never_sent(
    tmp_path: Path, engine: ScriptedEngine, status: int, stream: bool
) -> None:
    policy = f'[policy.no]\nkind = "says"\nsays = "deny"\nstatus = {status}\n'
    async with house(tmp_path, engine, policy) as running:
        client = await chat(running, stream=stream)
    row = billed(running)

    assert client.status == status
    assert error(client) == {
        "message": "the house does not like it",
        "type": "invalid_request_error" if status == 400 else "permission_error",
        "param": "messages",
        "code": "house_rule",
    }
    assert engine.records == []
    assert (row.ending, row.error, units(row)) == ("refused", "house_rule", {})
    assert [each["verdict"] for each in row.policies] == ["deny"]


async def test_a_denial_speaks_the_surface_of_the_route(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policy = '[policy.no]\nkind = "says"\nsays = "deny"\n'
    body = {"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    async with (
        house(tmp_path, engine, policy) as running,
        ClientSession() as session,
        session.post(f"{running.url}/v1/messages", json=body, headers=running.headers) as reply,
    ):
        said = await reply.json()

    assert reply.status == 403
    assert said["type"] == "error"
    assert said["error"]["type"] == "permission_error"


async def test_policies_are_asked_in_the_order_of_the_file_until_one_denies(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policies = (
        '[policy.zeta]\nkind = "says"\n'
        '[policy.alpha]\nkind = "says"\nsays = "deny"\n'
        '[policy.beta]\nkind = "says"\nsays = "raise"\n'
    )
    async with house(tmp_path, engine, policies) as running:
        await chat(running)
        metrics = running.app.state.observer.render().decode()

    decided = [line for line in metrics.splitlines() if "policy_decisions_total{" in line]
    assert decided == [
        'modgate_policy_decisions_total{policy="zeta",decision="allow",shadow="false"} 1',
        'modgate_policy_decisions_total{policy="alpha",decision="deny",shadow="false"} 1',
    ]


@pytest.mark.parametrize("says", ["raise", "nonsense", "sleep"])
@pytest.mark.parametrize("on_failure", ["open", "closed"])
async def test_a_policy_that_breaks_or_is_late_does_as_its_section_says(
    tmp_path: Path,
    engine: ScriptedEngine,
    caplog: pytest.LogCaptureFixture,
    says: str,
    on_failure: str,
) -> None:
    policy = f'[policy.p]\nkind = "says"\nsays = "{says}"\nbudget = "20ms"\n'
    with caplog.at_level(logging.WARNING, "modgate.policies"):
        async with house(tmp_path, engine, f'{policy}on_failure = "{on_failure}"\n') as running:
            client = await chat(running)
            metrics = running.app.state.observer.render().decode()
    row = billed(running)
    [record] = [each for each in caplog.records if each.name == "modgate.policies"]

    assert vars(record)["plugin"] == "house (house 0)"
    assert row.policies[0]["verdict"] == f"failed_{on_failure}"
    assert row.policies[0].get("late", False) == (says == "sleep")
    assert ('overruns_total{policy="p"} 1' in metrics) == (says == "sleep")
    if on_failure == "open":
        assert client.status == 200
        assert row.ending == "ok"
    else:
        assert (client.status, error(client)["code"]) == (503, "policy_failed")
        assert engine.records == []
        assert units(row) == {}


async def test_what_a_policy_asks_is_on_the_requests_own_bill(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with house(tmp_path, engine, ASKS) as running:
        client = await chat(running)
    row = billed(running)
    ids = {record.request_id for record in engine.records}

    assert client.status == 200
    assert paths(engine) == ["/v1/embeddings", "/v1/chat/completions"]
    assert ids == {row.id}
    assert row.units["embedding.input_tokens"] == TOKENS
    assert row.units["embedding.inputs"] == 1
    assert row.units["llm.output_tokens"] == engine.records[1].wrote["llm.output_tokens"]
    assert [each["model"] for each in row.attempts] == ["vectors", "chat"]
    assert client.headers.get("x-modgate-attempts") is None


@pytest.mark.parametrize("stream", [False, True])
async def test_what_was_asked_before_a_denial_stays_billed_and_the_chat_is_not(
    tmp_path: Path, engine: ScriptedEngine, stream: bool
) -> None:
    async with house(tmp_path, engine, f"{ASKS}deny = true\n") as running:
        client = await chat(running, stream=stream)
    row = billed(running)

    assert (client.status, error(client)["code"]) == (403, "house_rule")
    assert paths(engine) == ["/v1/embeddings"]
    assert units(row) == {"embedding.input_tokens": TOKENS, "embedding.inputs": 1}
    assert row.ending == "refused"


async def test_several_asks_are_billed_one_by_one(tmp_path: Path, engine: ScriptedEngine) -> None:
    """The second fails: the first was answered, so it is billed."""
    engine.script_for = lambda record: Script(refusal=Refusal(status=500)) if record.call else OK
    async with house(tmp_path, engine, f"{ASKS}times = 2\n") as running:
        client = await chat(running)
    row = billed(running)

    assert (client.status, error(client)["code"]) == (503, "policy_failed")
    assert units(row) == {"embedding.input_tokens": TOKENS, "embedding.inputs": 1}


@pytest.mark.parametrize("on_failure", ["open", "closed"])
async def test_an_engine_that_is_down_is_a_failure_of_the_policy_that_asks_it(
    tmp_path: Path, engine: ScriptedEngine, on_failure: str
) -> None:
    engine.script_for = down
    policy = f'{ASKS}on_failure = "{on_failure}"\n'
    async with house(tmp_path, engine, policy) as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == (200 if on_failure == "open" else 503)
    assert "embedding.input_tokens" not in row.units
    assert ("/v1/chat/completions" in paths(engine)) == (on_failure == "open")
    assert row.policies[0]["code"] == "upstream_error"


def down(record: Record) -> Script:
    """The embedding engine fails; the other answers."""
    return Script(refusal=Refusal(status=500)) if record.modality == "embedding" else OK


def slow(record: Record) -> Script:
    """The embedding engine does not come back; the other answers."""
    return Script(headers_after_ms=60_000) if record.modality == "embedding" else OK


async def until(claim: Callable[[], object]) -> None:
    for _ in range(500):
        if claim():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


@pytest.mark.parametrize("on_failure", ["open", "closed"])
async def test_an_ask_that_takes_too_long_is_given_up_at_the_budget(
    tmp_path: Path, engine: ScriptedEngine, on_failure: str
) -> None:
    engine.script_for = slow
    policy = f'{ASKS}budget = "100ms"\non_failure = "{on_failure}"\n'
    async with house(tmp_path, engine, policy) as running:
        async with asyncio.timeout(3):
            client = await chat(running)
    row = billed(running)

    assert client.status == (200 if on_failure == "open" else 503)
    assert "embedding.input_tokens" not in row.units
    assert row.policies[0]["late"]
    assert 100 <= row.policies[0]["ms"] < 2000
    assert [record.served for record in engine.records if record.modality == "embedding"] == [0]


async def test_a_client_that_leaves_while_a_policy_asks_closes_the_engines_connection(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = slow
    async with house(tmp_path, engine, ASKS) as running:
        gone = asyncio.Event()
        request = ask.chat(1, model="chat")
        leaving = asyncio.ensure_future(
            send(running.url, request, key=running.key, leave=Leave(at="sent"), go=gone)
        )
        await until(lambda: engine.records)
        gone.set()
        await leaving
        await until(lambda: engine.records[0].gone_at is not None)
        await until(lambda: list(rows(running.ledger)))
    row = billed(running)

    assert row.ending == "client_gone"
    assert units(row) == {}
    assert paths(engine) == ["/v1/embeddings"]
    assert row.policies == []


async def test_a_shadow_decides_and_records_and_changes_nothing(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policies = (
        '[policy.no]\nkind = "says"\nsays = "deny"\nshadow = true\n'
        '[policy.broken]\nkind = "says"\nsays = "raise"\nshadow = true\n'
        '[policy.away]\nkind = "says"\nsays = "narrow"\nregion = "mars"\nshadow = true\n'
    )
    async with house(tmp_path, engine, policies) as running:
        client = await chat(running)
        metrics = running.app.state.observer.render().decode()
    row = billed(running)

    assert client.status == 200
    assert [(each["policy"], each["verdict"], each["shadow"]) for each in row.policies] == [
        ("no", "deny", True),
        ("broken", "failed_closed", True),
        ("away", "narrow", True),
    ]
    assert row.ending == "ok"
    assert 'policy="no",decision="deny",shadow="true"} 1' in metrics


async def test_a_limit_in_shadow_is_marked_in_the_ledger_and_the_log(
    tmp_path: Path, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    limits = 'limits = { requests = { rate = "1/hour", shadow = true } }'
    with caplog.at_level(logging.INFO, "modgate.request"):
        async with house(tmp_path, engine, "", tenant=limits) as running:
            clients = [await chat(running) for _ in range(2)]
    marks = [row.would_refuse for row in rows(running.ledger)]
    logged = [vars(each).get("would_refuse") for each in caplog.records]

    assert [client.status for client in clients] == [200, 200]
    assert marks == ["", "requests/hour"]
    assert logged == [None, "requests/hour"]


async def test_narrowed_regions_hold_for_every_call(tmp_path: Path, engine: ScriptedEngine) -> None:
    """The tenant may use both; the policy lets the request go to one, and then to none."""
    backends = (
        {"region": "us"},
        {"region": "eu", "url": engine.url.replace("127.0.0.1", "localhost")},
    )
    policy = '[policy.home]\nkind = "says"\nsays = "narrow"\nregion = "{}"\n'
    async with house(tmp_path, engine, policy.format("eu"), backends=backends) as running:
        for _ in range(6):
            assert (await chat(running)).status == 200
    went = {each["region"] for row in rows(running.ledger) for each in row.attempts}
    (tmp_path / "none").mkdir()
    async with house(tmp_path / "none", engine, policy.format("mars"), backends=backends) as none:
        client = await chat(none)

    assert went == {"eu"}
    assert (client.status, error(client)["code"]) == (503, "no_healthy_upstream")


async def test_a_narrowed_plan_requires_more_of_its_backends(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    other = engine.url.replace("127.0.0.1", "localhost")
    backends = (
        {"offers": {"feature": Listed("logged")}},
        {"url": other, "offers": {"feature": Listed("no-log")}},
    )
    policy = '[policy.quiet]\nkind = "says"\nsays = "narrow"\nfeature = "no-log"\n'
    async with house(tmp_path, engine, policy, backends=backends) as running:
        for _ in range(6):
            assert (await chat(running)).status == 200

    went = {each["backend"] for row in rows(running.ledger) for each in row.attempts}
    assert went == {"b1"}


class Listed(int):
    """One name as a TOML list of it."""

    def __new__(cls, name: str) -> Listed:
        made = super().__new__(cls, 0)
        made.name = name
        return made

    name: str

    def __str__(self) -> str:
        return f'["{self.name}"]'


async def test_an_asked_models_limits_hold_and_their_end_is_no_way_around_the_policy(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    limits = f'limits = {{ units = {{ "embedding.input_tokens" = "{TOKENS}/hour" }} }}'
    policy = f'{ASKS}on_failure = "open"\n'
    async with house(tmp_path, engine, policy, tenant=limits) as running:
        clients = [await chat(running) for _ in range(2)]

    assert [client.status for client in clients] == [200, 429]
    assert paths(engine).count("/v1/chat/completions") == 1


async def test_a_tenant_need_not_have_a_right_to_the_model_that_guards_it(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with house(tmp_path, engine, ASKS, tenant='models = ["chat"]') as running:
        client = await chat(running)

    assert client.status == 200
    assert paths(engine) == ["/v1/embeddings", "/v1/chat/completions"]


async def test_asked_engines_stand_in_the_callers_regions(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    other = engine.url.replace("127.0.0.1", "localhost")
    backends = (
        {"region": "eu", "serves": {"chat": "c"}},
        {"region": "us", "url": other, "serves": {"vectors": "v"}},
    )
    async with house(tmp_path, engine, ASKS, tenant='regions = ["eu"]', backends=backends) as run:
        client = await chat(run)

    assert (client.status, error(client)["code"]) == (503, "policy_failed")
    assert engine.records == []


async def test_a_policy_sees_the_models_and_tenants_of_its_section_only(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policies = (
        '[policy.others]\nkind = "says"\nsays = "deny"\nmodels = ["vectors"]\n'
        '[policy.strangers]\nkind = "says"\nsays = "deny"\ntenants = []\n'
    )
    async with house(tmp_path, engine, policies) as running:
        client = await chat(running)
        vectors = await send(running.url, ask.embeddings(2, model="vectors"), key=running.key)

    assert (client.status, vectors.status) == (200, 403)
