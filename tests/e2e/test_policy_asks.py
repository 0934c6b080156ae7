"""What a policy asks of engines, and what becomes of the bill on every ending."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from gateways import Running
from oracle import requests as ask
from oracle.client import ClientRecord, Leave, send
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Fault, Refusal, Script
from oracle.record import Record
from rigs.ledger import ledger
from rigs.policies import ASKS, billed, chat, error, house, paths, units
from toys.rulings import TEXT, TOKENS
from waiting import until

from modgate.api.secret import Secret
from modgate.ledger.reader import rows

READ = len(TEXT)  # as the engine counts it; the policy reserves another number
ASKED = {"embedding.input_tokens": READ, "embedding.inputs": 1}


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
    assert row.units["embedding.input_tokens"] == READ
    assert row.units["embedding.inputs"] == 1
    assert row.units["llm.output_tokens"] == engine.records[1].wrote["llm.output_tokens"]
    assert [each["model"] for each in row.attempts] == ["vectors", "chat"]
    assert client.headers.get("x-modgate-attempts") is None


async def test_a_chat_that_a_policy_asks_for_is_billed_as_its_engine_says(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policy = '[policy.judge]\nkind = "judges"\nmodel = "chat"\n'
    async with house(tmp_path, engine, policy) as running:
        client = await chat(running)
    row = billed(running)
    judged, chatted = engine.records

    assert client.status == 200
    assert units(row) == {
        name: judged.wrote.get(name, 0)
        + judged.sent.get(name, 0)
        + chatted.wrote.get(name, 0)
        + chatted.sent.get(name, 0)
        for name in ("llm.input_tokens", "llm.output_tokens")
    }
    assert judged.sent["llm.input_tokens"] != TOKENS
    assert row.exact


@pytest.mark.parametrize("stream", [False, True])
async def test_what_was_asked_before_a_denial_stays_billed_and_the_chat_is_not(
    tmp_path: Path, engine: ScriptedEngine, stream: bool
) -> None:
    async with house(tmp_path, engine, f"{ASKS}deny = true\n") as running:
        client = await chat(running, stream=stream)
    row = billed(running)

    assert (client.status, error(client)["code"]) == (403, "house_rule")
    assert paths(engine) == ["/v1/embeddings"]
    assert units(row) == ASKED
    assert (row.ending, row.exact) == ("refused", True)


@pytest.mark.parametrize("status", [400, 413])
async def test_what_was_asked_has_an_exact_bill_where_an_engine_refuses_the_chat(
    tmp_path: Path, engine: ScriptedEngine, status: int
) -> None:
    refused = Script(refusal=Refusal(status=status))
    engine.script_for = lambda record: OK if record.modality == "embedding" else refused
    async with house(tmp_path, engine, ASKS) as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == status
    assert units(row) == ASKED
    assert (row.ending, row.exact) == ("refused", True)


async def test_several_asks_are_billed_one_by_one(tmp_path: Path, engine: ScriptedEngine) -> None:
    """The second fails: the first was answered, so it is billed."""
    engine.script_for = lambda record: Script(refusal=Refusal(status=500)) if record.call else OK
    async with house(tmp_path, engine, f"{ASKS}times = 2\n") as running:
        client = await chat(running)
    row = billed(running)

    assert (client.status, error(client)["code"]) == (503, "policy_failed")
    assert units(row) == ASKED


@pytest.mark.parametrize("on_failure", ["open", "closed"])
@pytest.mark.parametrize(("status", "code"), [(500, "upstream_error"), (429, "overloaded")])
async def test_an_engine_that_is_down_or_full_is_a_failure_of_the_policy_that_asks_it(
    tmp_path: Path, engine: ScriptedEngine, on_failure: str, status: int, code: str
) -> None:
    refused = Script(refusal=Refusal(status=status))
    engine.script_for = lambda record: refused if record.modality == "embedding" else OK
    policy = f'{ASKS}on_failure = "{on_failure}"\n'
    async with house(tmp_path, engine, policy) as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == (200 if on_failure == "open" else 503)
    assert row.ending == ("ok" if on_failure == "open" else "upstream_failed")
    assert "embedding.input_tokens" not in row.units
    assert ("/v1/chat/completions" in paths(engine)) == (on_failure == "open")
    assert row.policies[0]["code"] == code


def untold(record: Record) -> Script:
    """The embedding engine does not say what it read; the other does."""
    return Script(usage=False) if record.modality == "embedding" else OK


@pytest.mark.parametrize(("more", "status"), [("", 200), ("deny = true\n", 403)])
async def test_a_bill_is_no_more_exact_than_what_its_policies_asked(
    tmp_path: Path, engine: ScriptedEngine, more: str, status: int
) -> None:
    engine.script_for = untold
    async with house(tmp_path, engine, ASKS + more) as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == status
    assert not row.exact
    assert row.units["embedding.input_tokens"] > 0


def slow(record: Record) -> Script:
    """The embedding engine does not come back; the other answers."""
    return Script(headers_after_ms=60_000) if record.modality == "embedding" else OK


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
    assert row.ending == ("ok" if on_failure == "open" else "timed_out")
    assert row.policies[0]["late"]
    assert 100 <= row.policies[0]["ms"] < 2000
    assert [record.served for record in engine.records if record.modality == "embedding"] == [0]


async def test_a_client_that_leaves_while_a_policy_asks_closes_the_engines_connection(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = slow
    async with house(tmp_path, engine, ASKS) as running:
        await left(running, engine, "/v1/embeddings")
        await until(lambda: engine.records[0].gone_at is not None)
    row = billed(running)

    assert row.ending == "client_gone"
    assert units(row) == {}
    assert paths(engine) == ["/v1/embeddings"]
    assert row.policies == []


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


async def left(running: Running, engine: ScriptedEngine, path: str) -> None:
    """A client sends a chat and leaves when the engine has a call of this path."""
    gone = asyncio.Event()
    request = ask.chat(1, model="chat")
    leaving = asyncio.ensure_future(
        send(running.url, request, key=running.key, leave=Leave(at="sent"), go=gone)
    )
    await until(lambda: path in paths(engine))
    gone.set()
    await leaving
    await until(lambda: list(rows(running.ledger)))


def slow_chat(record: Record) -> Script:
    return Script(headers_after_ms=60_000) if record.modality == "llm" else OK


async def test_a_client_that_leaves_during_the_chat_pays_for_what_was_asked(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = slow_chat
    async with house(tmp_path, engine, ASKS) as running:
        await left(running, engine, "/v1/chat/completions")
    row = billed(running)

    assert row.ending == "client_gone"
    assert units(row) == ASKED


async def test_a_chat_that_fails_after_a_policy_asked_is_billed_what_was_asked(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: (
        Script(refusal=Refusal(status=500)) if record.modality == "llm" else OK
    )
    async with house(tmp_path, engine, ASKS) as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == 502
    assert units(row) == ASKED


async def test_a_clients_own_deadline_ends_an_ask(tmp_path: Path, engine: ScriptedEngine) -> None:
    engine.script_for = slow
    request = ask.chat(1, model="chat").with_headers(**{"x-request-timeout": "0.2"})
    async with house(tmp_path, engine, f'{ASKS}on_failure = "open"\n') as running:
        client = await send(running.url, request, key=running.key)
    row = billed(running)

    assert client.status == 504
    assert (row.ending, units(row)) == ("timed_out", {})
    assert paths(engine) == ["/v1/embeddings"]


async def test_an_ask_that_is_tried_again_is_billed_once(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: (
        Script(refusal=Refusal(status=500)) if not record.call else OK
    )
    backends = ({}, {"url": engine.url.replace("127.0.0.1", "localhost")})
    async with house(tmp_path, engine, ASKS, backends=backends) as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == 200
    assert paths(engine).count("/v1/embeddings") == 2
    assert row.units["embedding.input_tokens"] == READ
    assert client.headers["x-modgate-attempts"] == "2"


async def test_an_ask_in_shadow_is_billed(tmp_path: Path, engine: ScriptedEngine) -> None:
    async with house(tmp_path, engine, f"{ASKS}deny = true\nshadow = true\n") as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == 200
    assert row.units["embedding.input_tokens"] == READ
    assert row.policies[0]["shadow"]


async def test_a_gateway_that_dies_in_the_chat_bills_its_reserve_and_what_was_asked(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """The ledger as it lies on disk while the engine works is opened by another."""
    engine.script_for = slow_chat
    async with house(tmp_path, engine, ASKS) as running:
        request = ask.chat(1, model="chat", max_tokens=5)
        asking = asyncio.ensure_future(send(running.url, request, key=running.key))
        await until(lambda: "/v1/chat/completions" in paths(engine))
        await asyncio.sleep(0.2)
        shutil.copytree(running.ledger, tmp_path / "copy", ignore=shutil.ignore_patterns("*lock*"))
        asking.cancel()
    key = Secret((tmp_path / "state" / "ledger-key").read_text().strip())
    with ledger(tmp_path / "copy", key=key):
        pass
    [row] = rows(tmp_path / "copy", key)

    assert row.ending == "gateway_crash"
    assert units(row)["embedding.input_tokens"] == READ
    assert units(row)["llm.output_tokens"] == 5


@pytest.mark.parametrize("deny", [False, True])
async def test_clients_that_leave_at_any_moment_pay_for_what_was_answered_and_no_more(
    tmp_path: Path, engine: ScriptedEngine, deny: bool
) -> None:
    """Engine, ledger and policy agree on every request, wherever its client left."""
    rng = random.Random(7)
    engine.script_for = lambda record: Script(headers_after_ms=rng.choice((0, 5, 15, 30)))
    policy = f"{ASKS}deny = {str(deny).lower()}\n"

    async def one(running: Running, tag: int) -> ClientRecord:
        leave = Leave(at="sent", after_ms=rng.uniform(0, 60)) if tag % 4 else None
        request = ask.chat(tag, model="chat", max_tokens=5, stream=bool(tag % 2))
        return await send(running.url, request, key=running.key, leave=leave)

    async with house(tmp_path, engine, policy) as running:
        for first in range(1, 80, 16):
            await asyncio.gather(*(one(running, first + more) for more in range(16)))
        await until(lambda: running.app.state.live == 0)
    bills = {row.id: row for row in rows(running.ledger)}
    calls = {record.request_id for record in engine.records}
    endings = Counter(row.ending for row in bills.values())

    assert calls <= bills.keys()
    assert len(bills) >= 60
    assert min(endings["client_gone"], endings["refused" if deny else "ok"]) >= 5, endings
    for row in bills.values():
        mine = engine.of(row.id)
        asked = [record for record in mine if record.modality == "embedding"]
        chats = [record for record in mine if record.modality == "llm"]
        paid = row.units.get("embedding.input_tokens", 0)

        assert len(asked) <= 1
        assert paid in (0, READ * len(asked))
        assert paid <= READ * sum(record.answered for record in asked)
        assert chats == [] or (paid == READ and not deny)
        assert row.ending not in ("ok", "refused") or paid == READ
        written = sum(record.wrote.get("llm.output_tokens", 0) for record in chats)
        assert row.units.get("llm.output_tokens", 0) <= written


VECTORS = (
    b'{"object":"list","data":[{"index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":%d}}' % READ
)


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 503)])
async def test_what_an_ask_is_answered_has_eight_mib_at_most(
    tmp_path: Path, engine: ScriptedEngine, over: int, status: int
) -> None:
    """All of them are held until the last has come, by a request that has no reply yet."""
    said = VECTORS + b" " * ((8 << 20) + over - len(VECTORS))
    long = Script(fault=Fault(kind="garbage", after=0, data=said))
    engine.script_for = lambda record: long if record.modality == "embedding" else OK
    async with house(tmp_path, engine, f"{ASKS}budget = '20s'\n") as running:
        client = await chat(running)
        row = billed(running)
        own = await send(running.url, ask.embeddings(1, model="vectors", inputs=1), key=running.key)

    assert (client.status, own.status) == (status, 200)  # what is nobody's ask may be as long
    assert [each["code"] for each in row.policies] == ["upstream_invalid_response"] * over


async def test_a_reply_that_no_engine_may_give_is_none_of_an_ask_either(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    long = Script(fault=Fault(kind="garbage", after=0, data=VECTORS + b" " * (64 << 10)))
    engine.script_for = lambda record: long if record.modality == "embedding" else OK
    limits = "[limits]\nreply_bytes = '64KiB'\n"
    async with house(tmp_path, engine, f"{ASKS}budget = '20s'\n{limits}") as running:
        client = await chat(running)
    row = billed(running)

    assert client.status == 503
    assert [each["code"] for each in row.policies] == ["upstream_invalid_response"]
