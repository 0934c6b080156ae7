"""What an operator's policies do to a request: real gateway, scripted engine."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from aiohttp import ClientSession
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from rigs.policies import billed, chat, error, house, units

from modgate.ledger.reader import rows


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
        metrics = (await running.app.state.observer.rendered()).decode()

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
            metrics = (await running.app.state.observer.rendered()).decode()
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
        assert row.ending == ("timed_out" if says == "sleep" else "fault")
        assert engine.records == []
        assert units(row) == {}


async def test_a_shadow_decides_and_records_and_changes_nothing(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policies = (
        '[policy.no]\nkind = "says"\nsays = "deny"\nshadow = true\n'
        '[policy.broken]\nkind = "says"\nsays = "raise"\nshadow = true\n'
        '[policy.away]\nkind = "says"\nsays = "narrow"\nregion = "mars"\nshadow = true\n'
        '[policy.quiet]\nkind = "says"\nsays = "narrow"\nfeature = "no-log"\nshadow = true\n'
    )
    backends = ({"offers": {"feature": Listed("logged")}},)
    async with house(tmp_path, engine, policies, backends=backends) as running:
        client = await chat(running)
        metrics = (await running.app.state.observer.rendered()).decode()
    row = billed(running)

    assert client.status == 200
    assert [(each["policy"], each["verdict"], each["shadow"]) for each in row.policies] == [
        ("no", "deny", True),
        ("broken", "failed_closed", True),
        ("away", "narrow", True),
        ("quiet", "narrow", True),
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


@pytest.mark.parametrize("quiet", [0, 1])
async def test_a_narrowed_plan_requires_more_of_its_backends(
    tmp_path: Path, engine: ScriptedEngine, quiet: int
) -> None:
    urls = (engine.url, engine.url.replace("127.0.0.1", "localhost"))
    backends = [
        {"url": url, "offers": {"feature": Listed("no-log" if at == quiet else "logged")}}
        for at, url in enumerate(urls)
    ]
    policy = '[policy.quiet]\nkind = "says"\nsays = "narrow"\nfeature = "no-log"\n'
    async with house(tmp_path, engine, policy, backends=backends) as running:
        for _ in range(6):
            assert (await chat(running)).status == 200

    went = {each["backend"] for row in rows(running.ledger) for each in row.attempts}
    assert went == {f"b{quiet}"}


class Listed(int):
    """One name as a TOML list of it."""

    def __new__(cls, name: str) -> Listed:
        made = super().__new__(cls, 0)
        made.name = name
        return made

    name: str

    def __str__(self) -> str:
        return f'["{self.name}"]'


async def test_a_policy_sees_the_models_and_tenants_of_its_section_only(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policies = (
        '[policy.others]\nkind = "says"\nsays = "deny"\nmodels = ["vectors"]\n'
        '[policy.strangers]\nkind = "says"\nsays = "deny"\ntenants = []\n'
        '[policy.ours]\nkind = "says"\nsays = "deny"\ntenants = ["acme"]\nshadow = true\n'
    )
    async with house(tmp_path, engine, policies) as running:
        client = await chat(running)
        vectors = await send(running.url, ask.embeddings(2, model="vectors"), key=running.key)

    assert (client.status, vectors.status) == (200, 403)
    told = [[each["policy"] for each in row.policies] for row in rows(running.ledger)]
    assert told == [["ours"], ["others"]]


async def test_what_a_tenant_may_hold_at_once_has_a_shadow_too(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    limits = 'limits = { body_bytes = 10, streams = 5, shadow = ["body_bytes"] }'
    async with house(tmp_path, engine, "", tenant=limits) as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == 200
    assert row.would_refuse == "body_bytes"
