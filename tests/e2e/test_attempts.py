"""What one request becomes upstream: its tries, its trace, its ids, and trips shared with others.

Source: algorithms.md 5.1 (retry) and 6.3 (natural batching); W3C Trace Context 1.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from gateways import Running, receipts_of, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Refusal, Script
from oracle.requests import ClientRequest
from servers import free_port

from modgate.ledger.reader import rows

REQUESTS = 20
TOGETHER = 8
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CHAT = ask.chat(1, model="chat")


# --- tries


async def test_an_engine_that_is_not_there_costs_a_try_and_no_request(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    backends = [{"url": f"http://127.0.0.1:{free_port()}"}, {"url": engine.url}]
    async with await start(tmp_path, backends) as running:
        receipts = receipts_of(running)
        sending = (send(running.url, CHAT, key=running.key) for _ in range(REQUESTS))
        clients = await asyncio.gather(*sending)

    assert Counter(client.ended for client in clients) == {"ok": REQUESTS}
    tries = [[attempt.backend for attempt in receipt.attempts] for receipt in receipts]
    assert len(tries) == REQUESTS
    assert ["b0", "b1"] in tries
    assert [backends for backends in tries if backends not in (["b1"], ["b0", "b1"])] == []
    billed = list(rows(running.ledger))
    assert [row.ending for row in billed] == ["ok"] * REQUESTS
    assert sum(row.units["llm.output_tokens"] for row in billed) == 8 * REQUESTS


@pytest.mark.parametrize("status", [400, 422])
async def test_what_the_engine_refuses_is_not_tried_elsewhere(
    tmp_path: Path, engine: ScriptedEngine, status: int
) -> None:
    engine.script_for = lambda record: Script(refusal=Refusal(status=status))
    async with ScriptedEngine(engine.script_for) as other:
        async with await start(tmp_path, [{"url": engine.url}, {"url": other.url}]) as running:
            receipts = receipts_of(running)
            client = await send(running.url, CHAT, key=running.key)
        calls = [each for each in [*engine.records, *other.records] if each.method == "POST"]

    assert client.status is not None
    assert 400 <= client.status < 500
    assert len(calls) == 1
    assert [len(receipt.attempts) for receipt in receipts] == [1]


async def test_an_engine_that_fails_is_tried_elsewhere_once(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(refusal=Refusal(status=500))
    async with ScriptedEngine(engine.script_for) as other, ScriptedEngine(engine.script_for) as no:
        urls = [engine.url, other.url, no.url]
        async with await start(tmp_path, [{"url": url} for url in urls]) as running:
            client = await send(running.url, CHAT, key=running.key)
        calls = [
            [each for each in one.records if each.method == "POST"] for one in (engine, other, no)
        ]

    assert client.status == 502
    assert sorted(map(len, calls)) == [0, 1, 1]


async def test_an_engine_that_still_loads_is_passed_over(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    loading = Refusal(status=503, family="llamacpp", message="Loading model")
    engine.script_for = lambda record: Script(refusal=loading)
    async with ScriptedEngine() as other:
        urls = [engine.url, other.url]
        # At once, and a slot each: both are asked, whoever else would have been preferred.
        backends = [{"url": url, "family": "llamacpp", "slots": 1} for url in urls]
        async with await start(
            tmp_path, backends, plugins=["llm"], models={"chat": "llm"}
        ) as running:
            asked = [send(running.url, CHAT, key=running.key) for _ in range(REQUESTS)]
            clients = await asyncio.gather(*asked)
        tried = [record for record in engine.records if record.method == "POST"]

    assert tried
    assert [client.status for client in clients] == [200] * REQUESTS


async def test_only_what_was_tried_again_is_told_as_attempts(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    """A side call, and each call of a fan-out, is no second attempt."""
    long = ask.chat(1, model="chat", text="hello " * 400)
    refuse = iter([False, True])
    engine.script_for = lambda record: (
        Script(refusal=Refusal(status=500))
        if record.path == CHAT.path and next(refuse, False)
        else Script(input_tokens=50)
    )
    urls = [engine.url, engine.url.replace("127.0.0.1", "localhost")]
    async with await start(
        tmp_path,
        [{"url": url, "serves": {"chat": "engine-chat"}} for url in urls],
        plugins=["llm"],
        models={"none": "none"},
        more='[model.chat]\nmodality = "llm"\ntokenizer = "engine"\ncontext = 2400',
    ) as running:
        clients = [await send(running.url, long, key=running.key) for _ in range(2)]

    assert "/tokenize" in {record.path for record in engine.records}
    assert [client.status for client in clients] == [200, 200]
    assert [client.headers.get("x-modgate-attempts") for client in clients] == [None, "2"]


async def test_shape_does_without_a_side_call_that_no_dialect_can_say(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    backends = [{"url": engine.url, "family": "openai", "serves": {"chat": "engine-chat"}}]
    async with await start(
        tmp_path,
        backends,
        plugins=["llm"],
        models={"none": "none"},
        more='[model.chat]\nmodality = "llm"\ntokenizer = "engine"\ncontext = 2000',
    ) as running:
        receipts = receipts_of(running)
        long = ask.chat(1, model="chat", text="hello " * 400)
        client = await send(running.url, long, key=running.key)

    assert (client.status, client.ended) == (200, "ok")
    assert [(a.call, a.sent, a.state) for a in receipts[0].attempts] == [
        (-1, False, "refused"),
        (0, True, "ok"),
    ]


async def test_a_receipt_has_a_step_for_what_was_done_before_the_call(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(headers_after_ms=30)
    async with await start(tmp_path, [{"url": engine.url, "slots": 1}]) as running:
        receipts = receipts_of(running)
        await asyncio.gather(*(send(running.url, CHAT, key=running.key) for _ in range(2)))

    names = sorted([step.name for step in receipt.steps] for receipt in receipts)
    assert names == [["shape", "select"], ["shape", "select", "queue"]]


# --- traces and ids


async def test_the_clients_trace_goes_on_upstream_and_into_one_receipt(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    backends = [{"url": f"http://127.0.0.1:{free_port()}"}, {"url": engine.url}]
    async with await start(tmp_path, backends) as running:
        receipts = receipts_of(running)
        request = CHAT.with_headers(
            traceparent=f"00-{TRACE}-{SPAN}-01", tracestate="a=b", x_request_id="mine-1"
        )
        clients = [await send(running.url, request, key=running.key) for _ in range(4)]
    calls = [record for record in engine.records if record.method == "POST"]

    ids = [client.request_id for client in clients]
    assert [receipt.request_id for receipt in receipts] == ids
    assert len(set(ids)) == len(calls) == 4
    for receipt, call in zip(receipts, calls, strict=True):
        assert (receipt.trace_id, receipt.parent_span_id) == (TRACE, SPAN)
        assert (receipt.sampled, receipt.client_request_id) == (True, "mine-1")
        assert call.headers["traceparent"] == f"00-{TRACE}-{receipt.attempts[-1].span}-01"
        assert call.headers["tracestate"] == "a=b"
        assert call.headers["x-request-id"] == receipt.request_id
        spans = [receipt.span_id, SPAN, *(attempt.span for attempt in receipt.attempts)]
        assert len(set(spans)) == len(spans)


@pytest.mark.parametrize(
    "bad", ["", "00-1-2-01", f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01"]
)
async def test_a_bad_traceparent_begins_a_trace(
    tmp_path: Path, engine: ScriptedEngine, bad: str
) -> None:
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        receipts = receipts_of(running)
        await send(running.url, CHAT.with_headers(traceparent=bad), key=running.key)
    [receipt] = receipts
    [call] = [record for record in engine.records if record.method == "POST"]

    assert receipt.trace_id not in (TRACE, "0" * 32)
    assert receipt.parent_span_id == ""
    assert call.headers["traceparent"].split("-")[1] == receipt.trace_id


def get(path: str, key: str | None, *, method: str = "GET", body: bytes = b"") -> bytes:
    """The bytes of a request that wants no further reply on its connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway", "Connection: close"]
    lines.append(f"Content-Length: {len(body)}")
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def names_of(running: Running, sent: bytes) -> tuple[int, Counter[str]]:
    """The status of a reply, and how often it has each header."""
    host, port = running.app.public_address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(sent)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status, *lines = head.decode().strip().split("\r\n")
    return int(status.split()[1]), Counter(line.partition(":")[0].lower() for line in lines)


async def test_every_reply_has_its_ids_once(tmp_path: Path, engine: ScriptedEngine) -> None:
    engine.script_for = lambda record: Script(
        headers=(("x-request-id", "the engine's"), ("request-id", "the engine's")),
        refusal=Refusal(status=400) if record.tag == 9 else None,
    )
    async with await start(tmp_path, [{"url": engine.url}]) as running:
        key = running.key

        def post(request: ClientRequest) -> bytes:
            return get(request.path, key, method="POST", body=request.body).replace(
                b"Host: gateway",
                f"Host: gateway\r\nContent-Type: {request.content_type}".encode(),
                1,
            )

        sent = {
            "whole": (200, post(CHAT)),
            "stream": (200, post(ask.chat(2, model="chat", stream=True))),
            "sound": (200, post(ask.speech(3, model="voice"))),
            "models": (200, get("/v1/models", key)),
            "described": (200, get("/openapi.json", key)),
            "front": (200, get("/", None)),
            "live": (200, get("/health/live", None)),
            "ready": (200, get("/health/ready", None)),
            "no key": (401, get("/v1/models", None)),
            "no page": (404, get("/v1/nothing", key)),
            "no method": (405, get("/v1/chat/completions", key)),
            "no model": (404, post(ask.chat(4, model="nobody"))),
            "no body": (400, get("/v1/chat/completions", key, method="POST")),
            "refused upstream": (400, post(ask.chat(9, model="chat"))),
            "no HTTP": (400, b"GET / HTTP/9.9\r\nbad header\r\n\r\n"),
        }
        found = {name: await names_of(running, data) for name, (_, data) in sent.items()}

    statuses = {name: status for name, (status, _) in found.items()}
    ids = {n: (count["x-request-id"], count["request-id"]) for n, (_, count) in found.items()}
    assert ids == dict.fromkeys(sent, (1, 1))
    assert statuses == {name: status for name, (status, _) in sent.items()} | {
        "no body": statuses["no body"]
    }
    assert 400 <= statuses["no body"] < 500


# --- shared trips


async def test_embeddings_that_wait_share_a_trip_and_keep_their_own_bill(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda record: Script(headers_after_ms=150)
    requests = [ask.embeddings(t, model="vectors", inputs=1 + t % 3) for t in range(TOGETHER)]
    async with await start(tmp_path, [{"url": engine.url, "slots": 1}]) as running:
        sending = (send(running.url, request, key=running.key) for request in requests)
        clients: list[ClientRecord] = await asyncio.gather(*sending)
    calls = [record for record in engine.records if record.method == "POST"]
    billed = {row.id: row for row in rows(running.ledger)}

    # The client's count knows the vector of each text, and notes one that is another's.
    assert [(client.ended, client.notes) for client in clients] == [("ok", ())] * TOGETHER
    assert 2 <= len(calls) < TOGETHER
    shares = {tag: share for call in calls for tag, share in call.shares.items()}
    assert len(billed) == TOGETHER
    for request, client in zip(requests, clients, strict=True):
        row = billed[client.request_id or ""]
        units = {name: row.units.get(name, 0) for name in shares[request.tag]}
        assert units == shares[request.tag]
        # An engine tells the tokens of a trip, not of a member: a share of them is an estimate.
        alone = any(call.tags == (request.tag,) for call in calls)
        assert (row.ending, row.exact) == ("ok", alone)
    for unit in ("embedding.inputs", "embedding.input_tokens"):
        assert sum(row.units[unit] for row in billed.values()) == sum(c.sent[unit] for c in calls)


async def test_who_spoils_a_shared_trip_spoils_it_for_nobody_else(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    spoilt = TOGETHER - 2
    engine.script_for = lambda record: Script(
        headers_after_ms=50, refusal=Refusal(status=422) if spoilt in record.tags else None
    )
    async with await start(tmp_path, [{"url": engine.url, "slots": 1}]) as running:
        clients = await asyncio.gather(
            *(
                send(running.url, ask.embeddings(tag, model="vectors"), key=running.key)
                for tag in range(TOGETHER)
            )
        )
    trips = [record.tags for record in engine.records if record.method == "POST"]
    billed = {row.id: row.ending for row in rows(running.ledger)}

    refused = [tag == spoilt for tag in range(TOGETHER)]
    assert [client.status for client in clients] == [400 if bad else 200 for bad in refused]
    endings = [billed[client.request_id or ""] for client in clients]
    assert endings == ["refused" if bad else "ok" for bad in refused]
    assert max(map(len, trips)) == TOGETHER - 1
    assert len(trips) <= 2 + 2 * 3


async def test_tenants_share_no_trip(tmp_path: Path, engine: ScriptedEngine) -> None:
    engine.script_for = lambda record: Script(headers_after_ms=100)
    tenants = {"acme": "", "other": ""}
    async with await start(tmp_path, [{"url": engine.url, "slots": 1}], tenants=tenants) as running:
        clients = await asyncio.gather(
            *(
                send(running.url, ask.embeddings(tag, model="vectors"), key=key)
                for tag, key in enumerate([*running.keys.values()] * 4)
            )
        )
    trips = [record.tags for record in engine.records if record.method == "POST"]

    assert [client.ended for client in clients] == ["ok"] * TOGETHER
    assert [tags for tags in trips if len({tag % 2 for tag in tags}) > 1] == []
    assert max(map(len, trips)) > 1
