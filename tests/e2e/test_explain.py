"""What led to a reply, told afterwards by the admin page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from oracle import requests as ask
from oracle.engine import ScriptedEngine
from oracle.faults import Refusal, Script
from oracle.record import Record
from rigs.explaining import TARGET, UNKNOWN, Make, World, worlds
from rigs.policies import house

SLOW, LATE = Script(headers_after_ms=60), Script(headers_after_ms=250)
LEARNING = 16
EJECTED_WITHIN_S = 60.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Make]:
    async with worlds(tmp_path) as make:
        yield make


def failing_once(after: int) -> Callable[[Record], Script]:
    """An engine whose calls go well but for one."""
    calls = iter(range(10_000))
    return lambda record: (
        Script(refusal=Refusal(status=500))
        if record.method == "POST" and next(calls) == after
        else Script()
    )


def by_backend(candidates: list[Any]) -> dict[str, Any]:
    return {each["backend"]: each for each in candidates}


async def test_a_request_that_was_tried_again_tells_both_picks(world: Make) -> None:
    made = await world(failing_once(LEARNING), SLOW)
    for _ in range(3 * LEARNING):
        client = await made.sent()
        if (told := await made.explained(client))["attempts_in_all"] > 1:
            break
    first, second = told["attempts"]

    assert (first["backend"], first["state"], first["status"]) == ("b0", "failed", 500)
    assert (second["backend"], second["state"], second["status"]) == ("b1", "ok", 200)
    assert first["ended_ms"] <= second["began_ms"] < second["first_event_ms"]
    assert not first["pick"]["again"]
    assert second["pick"]["again"]
    candidates = by_backend(second["pick"]["candidates"])
    assert candidates["b0"]["left_out"] == "tried"
    assert candidates["b1"]["outcome"] == "chosen"
    assert candidates["b1"]["predicted_ms"] > 0
    slo = second["slo"]
    assert slo["target_ms"] == 100
    assert slo["took_ms"] == pytest.approx(second["ended_ms"] - second["began_ms"], abs=20)
    assert slo["kept"] is (slo["share"] <= 1)
    assert told["headers"]["x-modgate-attempts"] == "2"


async def test_what_goes_out_though_it_will_be_late_says_so(world: Make) -> None:
    made = await world(LATE, LATE)
    for _ in range(LEARNING):
        client = await made.sent()
    told = await made.explained(client)

    [attempt] = told["attempts"]
    assert attempt["pick"]["why"] == "best_effort"
    assert all(each["share"] > 1 for each in attempt["pick"]["candidates"])
    assert told["slo"] == {
        "kept": False,
        "worst_share": attempt["slo"]["share"],
        "calls": 1,
        "late": 1,
        "told": "best-effort",
    }
    assert told["headers"]["x-modgate-slo"] == "best-effort"


async def test_who_was_left_out_and_why_is_told_as_it_was_then(world: Make) -> None:
    down = Script(refusal=Refusal(status=500))
    made = await world(down, Script(), Script())
    health = made.running.app.state.fleet.health[made.engines[0].url]
    async with asyncio.timeout(EJECTED_WITHIN_S):
        tags = count()
        while health.until < 0:
            await made.sent(ask.chat(next(tags), model="chat"))
    told = await made.explained(await made.sent())

    [attempt] = told["attempts"]
    candidates = by_backend(attempt["pick"]["candidates"])
    assert candidates["b0"]["left_out"] == "ejected"
    assert {candidates[name]["left_out"] for name in ("b1", "b2")} == {None}


async def test_a_backend_where_the_callers_data_may_not_be_is_told_as_that(
    world: Make,
) -> None:
    made = await world(Script(), Script(), tenants={"acme": 'regions = ["eu"]'}, region="eu")
    client = await made.sent()
    path = made.running.config
    text = path.read_text()
    there = text.index(made.engines[1].url)
    path.write_text(text[:there] + text[there:].replace('"eu"', '"us"', 1))
    await made.running.app.reload()
    told = await made.explained(await made.sent())
    before = await made.explained(client)

    left_out = {
        each["backend"]: each["left_out"] for each in told["attempts"][0]["pick"]["candidates"]
    }
    assert left_out == {"b0": None, "b1": "region"}
    assert len(before["attempts"][0]["pick"]["candidates"]) == 2  # a reload forgets none


async def test_a_call_that_waited_tells_what_it_found_and_how_long(world: Make) -> None:
    made = await world(Script(headers_after_ms=400), slots=1)
    first = asyncio.create_task(made.sent())
    await asyncio.sleep(0.05)
    client = await made.sent()
    await first
    told = await made.explained(client)

    [wait] = told["waits"]
    [candidate] = wait["candidates"]
    assert (candidate["left_out"], candidate["taken"], candidate["slots"]) == ("no_slot", 1, 1)
    [queue] = [each for each in told["steps"] if each["step"] == "queue"]
    assert 50 < queue["ended_ms"] - queue["began_ms"] < 1000
    assert told["attempts"][0]["pick"]["why"] == "only"
    slo = told["attempts"][0]["slo"]  # nothing was promised, and yet it has a target
    assert (slo["promised"], slo["target_ms"], slo["kept"]) == (False, 100, False)


@pytest.mark.parametrize(
    ("keys", "tenants", "told", "line"),
    [
        (
            "calls = 2",
            ("acme", "acme"),
            {"refused_by": "calls", "of": "the tenant's share", "wanted": 2, "at_most": 1},
            "queue: refused by `calls` (the tenant's share): 2 calls, at most 1\n",
        ),
        (
            "calls = 1\nshare = 1.0",
            ("other", "acme"),
            {"refused_by": "calls", "of": "all", "wanted": 2, "at_most": 1},
            "queue: refused by `calls`: 2 calls, at most 1\n",
        ),
        (
            'patience = { gold = "100ms" }',
            ("acme",),
            {"refused_by": "deadline", "of": "[queue] patience", "wanted": 0, "at_most": 0},
            "queue: refused by its deadline ([queue] patience), which came while it waited\n",
        ),
    ],
)
async def test_a_request_that_the_queue_refused_is_told_by_which_bound(
    world: Make, keys: str, tenants: tuple[str, ...], told: dict[str, object], line: str
) -> None:
    made = await world(
        Script(headers_after_ms=800),
        slots=1,
        more=f"{TARGET}[queue]\n{keys}\n",
        tenants={"acme": 'slo = "gold"', "other": 'slo = "gold"\nweight = 100.0'},
    )
    sent = [asyncio.create_task(made.sent())]
    for tenant in tenants:
        await asyncio.sleep(0.05)
        sent.append(asyncio.create_task(made.sent(key=made.running.keys[tenant])))
    replies = await asyncio.gather(*sent)
    [refused] = [each for each in replies if each.status == 429]
    found = await made.explained(refused)
    code, text = await made.command(refused.request_id)

    unit = "seconds" if told["refused_by"] == "deadline" else "calls"
    assert found["queue"] == {**told, "unit": unit}
    assert (code, line in text) == (0, True)
    assert (await made.explained(replies[0]))["queue"] is None


async def test_a_request_that_a_limit_refused_is_told_with_the_level_that_it_met(
    world: Make,
) -> None:
    limits = 'limits = { requests = "2/hour", units = { "llm.output_tokens" = "1M/min" } }'
    made = await world(Script(), tenants={"acme": limits})
    good = [await made.sent() for _ in range(2)]
    refused = await made.sent()
    allowed, told = [await made.explained(each) for each in (good[1], refused)]

    assert refused.status == 429
    assert (told["status"], told["outcome"], told["attempts"]) == (429, "refused", [])
    requests = next(each for each in told["limits"]["met"] if each["limit"] == "requests")
    assert requests["verdict"] == "denied"
    assert (requests["wanted"], requests["amount"], requests["level_before"]) == (1, 2, 2)
    assert requests["wait_ms"] > 0
    assert "requests per hour" in told["limits"]["refusal"]
    met = {each["limit"]: each for each in allowed["limits"]["met"]}
    assert met["requests"]["verdict"] == "allowed"
    assert (met["requests"]["reserved"], met["requests"]["left_at_reply"]) == (1, 0)
    assert met["llm.output_tokens"]["reserved"] == 4096
    assert allowed["units"]["llm.output_tokens"] == {"reserved": "4096", "used": "8"}


async def test_embeddings_that_shared_a_trip_say_so(world: Make) -> None:
    made = await world(Script(headers_after_ms=100), slots=1)
    first = asyncio.create_task(made.sent(ask.embeddings(1, model="vectors")))
    await asyncio.sleep(0.03)
    clients = await asyncio.gather(
        *(made.sent(ask.embeddings(tag, model="vectors")) for tag in range(2, 6))
    )
    await first
    told = [await made.explained(each) for each in clients]

    shared = [each["attempts"][0]["shared_by"] for each in told]
    assert sorted(shared) == [0, 0, 0, 4]
    assert {each["attempts"][0]["pick"]["why"] for each in told} == {"only"}
    assert all(each["waits"] for each in told)


async def test_a_fan_out_tells_each_of_its_calls(world: Make) -> None:
    made = await world(Script(), Script())
    client = await made.sent(ask.transcription(6, model="ears", duration_ms=95_000))
    told = await made.explained(client)
    code, text = await made.command(str(client.request_id))

    calls = [each["call"] for each in told["attempts"]]
    assert len(calls) >= 3
    assert sorted(calls) == list(range(len(calls)))
    assert {each["pick"]["why"] for each in told["attempts"]} <= {"fit", "explore"}
    assert told["slo"]["calls"] == len(calls)
    assert code == 0
    assert all(f"call {call} at b" in text for call in calls)


async def test_a_request_nobody_knows_is_not_found_and_one_of_the_ledger_is(
    world: Make,
) -> None:
    made = await world(Script(), more="[explain]\nrequests = 4\n" + TARGET)
    old = await made.sent()
    for _ in range(4):
        await made.sent()
    told = await made.explained(old)
    statuses = [(await made.page(f"/{name}"))[0] for name in (UNKNOWN, "nonsense")]
    code, text = await made.command(str(old.request_id))
    unknown, said = await made.command(UNKNOWN)

    assert told["kept"] == "ledger"
    assert told["attempts"][0]["backend"] == "b0"
    assert "limits" not in told
    assert statuses == [404, 404]
    assert (code, "from the ledger" in text) == (0, True)
    assert unknown == 1
    assert "it is not among the recent ones and not in this gateway's ledger" in said


async def test_recent_requests_are_listed_by_who_and_how(world: Make) -> None:
    made = await world(Script(), tenants={"acme": "", "other": 'limits = { requests = "1/hour" }'})
    mine = [await made.sent() for _ in range(3)]
    other = made.running.keys["other"]
    theirs = [await made.sent(key=other) for _ in range(2)]
    await made.sent(key="mg_live_nonsense")
    _, everything = await made.page("")
    _, one = await made.page("?tenant=acme&limit=1")
    _, refused = await made.page("?outcome=429")
    wrong = [await made.page(query) for query in ("?limit=0", "?tennant=acme")]
    code, text = await made.command("--tenant", "other")

    ids = [each["id"] for each in everything["requests"]]
    assert ids == [each.request_id for each in reversed([*mine, *theirs])]  # and no stranger's
    assert ([each["id"] for each in one["requests"]], one["has_more"]) == (
        [mine[2].request_id],
        True,
    )
    assert [each["id"] for each in refused["requests"]] == [theirs[1].request_id]
    assert [status for status, _ in wrong] == [400, 400]
    assert [told["field"] for _, told in wrong] == ["limit", "tennant"]
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        each.request_id for each in reversed(theirs)
    ]


async def test_nothing_that_a_client_sent_is_told(world: Make) -> None:
    made = await world(Script())
    secret = "a-word-that-nobody-else-says"
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": secret}]})
    headers = {**made.running.headers, "content-type": "application/json", "x-own": secret}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{made.running.url}/v1/chat/completions", data=body) as reply,
    ):
        request_id = reply.headers["x-request-id"]
        await reply.read()
    _, told = await made.page(f"/{request_id}")

    assert told["id"] == request_id
    assert secret not in json.dumps(told)
    assert made.running.key not in json.dumps(told)


async def test_a_call_that_is_refused_for_its_promise_tells_who_was_at_work(world: Make) -> None:
    more = TARGET + '[select]\nunmet = { gold = "refuse" }\n'
    made = await world(LATE, LATE, more=more)
    for _ in range(LEARNING):
        await made.sent()
    clients = await asyncio.gather(*(made.sent() for _ in range(6)))
    [refused, *_] = [each for each in clients if each.status == 429]
    told = await made.explained(refused)

    assert (told["outcome"], told["attempts"]) == ("overloaded", [])
    [wait] = told["waits"]
    assert wait["unmet"] == "refuse"
    assert {each["left_out"] for each in wait["candidates"]} == {"late"}
    assert all(each["share"] > 0.7 for each in wait["candidates"])
    assert wait["stood_ago_ms"] >= 0


async def test_what_is_held_at_once_is_told_in_the_limits_own_words(world: Make) -> None:
    made = await world(SLOW, tenants={"acme": "limits = { in_flight = 1 }"})
    clients = await asyncio.gather(*(made.sent() for _ in range(3)))
    [refused, *_] = [each for each in clients if each.status == 429]
    told = await made.explained(refused)

    assert told["limits"]["refusal"] == "the limit of 1 in flight at once is reached"


async def test_a_model_that_stood_in_for_another_is_told_with_the_reason(world: Make) -> None:
    made = await world(
        Script(refusal=Refusal(status=500)),
        Script(),
        serves=[{"chat": "engine-chat"}, {"small": "engine-small"}],
        tenants={"acme": "fallback = true"},
        models={"chat": "llm", "small": "llm"},
        plugins=["llm"],
        facts={"chat": 'fallback = ["small"]'},
    )
    client = await made.sent()
    told = await made.explained(client)
    _, text = await made.command(str(client.request_id))

    assert client.status == 200
    assert (told["model"], told["notes"]["fallback_for"]) == ("small", "chat")
    assert told["notes"]["fallback_on"] == "failed"
    assert {each["model"] for each in told["attempts"]} == {"chat", "small"}
    assert told["attempts"][-1]["model"] == "small"
    assert "fallback for: chat" in text
    assert "call 0 (chat) at b0" in text


async def test_a_limit_in_shadow_is_told_as_one(world: Make) -> None:
    rate = 'units = { "llm.output_tokens" = { rate = "1/min", shadow = true } }'
    made = await world(Script(), tenants={"acme": f"limits = {{ {rate} }}"})
    await made.sent()
    told = await made.explained(await made.sent())

    [met] = told["limits"]["met"]
    assert (met["verdict"], met["amount"]) == ("shadow", 1)
    assert told["limits"]["would_refuse"] == "llm.output_tokens/minute"


async def test_what_policies_decided_is_told_also_of_a_request_that_they_refused(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    policies = '[policy.yes]\nkind = "says"\n[policy.no]\nkind = "says"\nsays = "deny"\n'
    async with house(tmp_path, engine, policies) as running:
        made = World(running, [engine])
        told = await made.explained(await made.sent())
        _, text = await made.command(told["id"])

    verdicts = [(each["policy"], each["verdict"]) for each in told["policies"]]
    assert verdicts == [("yes", "allow"), ("no", "deny")]
    assert (told["status"], told["attempts"]) == (403, [])
    assert [line.split()[:2] for line in text.splitlines() if " ms" in line and "deny" in line] == [
        ["no", "deny"]
    ]
