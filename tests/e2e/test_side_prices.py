"""A request that asks another model of its own modality: what each did has its own price."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from gateways import Running, start
from made_plugins import Words, plugin

from modgate.ledger.reader import rows
from modgate.plugin import (
    Ask,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    Head,
    Json,
    Outcome,
    Plan,
    Relay,
    Request,
    StandIn,
    Units,
    Usage,
)
from modgate.testing import FakeBackend, Scripted

SIZE = Units(input_tokens=10)
BOOK = """
[price.book]
effective = 2020-01-01
currency = "EUR"
units = { "words.input_tokens" = "100/1k", "words.output_tokens" = "free" }
[[price.book.case]]
model = "judge"
units = { "words.input_tokens" = "1/1k" }
"""
CHEAP, DEAR = 10_000, 1_000_000  # ten of a judge's tokens, and ten of others, in micro-units


class Given(Relay):
    """Repeats what comes."""

    head = Head()

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        yield self.json(event.json())

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(SIZE) if any(outcome.ok for outcome in outcomes) else Usage(Units())


class Judged(Words):
    """Asks the models that the request names, and then its own."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Generator[Ask, Json, Plan]:
        body = Body.of(word="?")
        for name in request.fields().get("asks") or ():
            model = None if name == request.model.name else name
            yield Ask([Call(path="/words", body=body, size=SIZE, model=model)])
        return Plan(calls=[Call(path="/words", body=body, size=SIZE)], relay=Given())


class Plain(Dialect):
    """The home wire."""

    modality = "words"


class Talked(Given):
    """It did cost less than it might have."""

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=10, output_tokens=30))


class Silent(Given):
    """Does not know what it did cost."""

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        raise ValueError(len(outcomes))


class Unsure(Judged):
    """Asks a judge, and then does not know."""

    def shape(self, request: Request) -> Generator[Ask, Json, Plan]:
        body = Body.of(word="?")
        yield Ask([Call(path="/words", body=body, size=SIZE, model="judge")])
        return Plan(calls=[Call(path="/words", body=body, size=SIZE)], relay=Silent())


class Drawing(Judged):
    """Four calls, of which its plan foresees one."""

    stand_in = StandIn()

    def shape(self, request: Request) -> Generator[Ask, Json, Plan]:
        yield from ()
        calls = (Call(path="/words", body=Body.of(word="?"), size=SIZE) for _ in range(4))
        return Plan(calls=calls, relay=Given(), reserve=SIZE)


class Guarded(Judged):
    """Asks a judge who could read and say much, and says a word."""

    def shape(self, request: Request) -> Generator[Ask, Json, Plan]:
        body, most = Body.of(word="?"), Units(input_tokens=10, output_tokens=90)
        asked = Units(input_tokens=10_000, output_tokens=90)
        yield Ask([Call(path="/words", body=body, size=asked, model="judge")])
        return Plan(calls=[Call(path="/words", body=body, size=most)], relay=Talked())

    def count(self, call: Call, event: Event) -> Usage:
        return Usage(Units(input_tokens=10, output_tokens=1))


@asynccontextmanager
async def running(
    folder: Path, tenant: str = "", modality: type[Judged] = Judged
) -> AsyncIterator[Running]:
    made = plugin(modgate_modalities=[modality], modgate_dialects=[Plain])
    async with FakeBackend() as engine:
        engine.answer("/words", Scripted(reply=b'{"word": "yes"}'))
        async with await start(
            folder,
            [{"url": engine.url}],
            plugins=["words"],
            models={"chat": "words", "judge": "words", "other": "words"},
            tenants={"acme": tenant},
            extra={"words": made},
            more=BOOK,
        ) as gateway:
            yield gateway


@pytest.mark.parametrize(
    ("asks", "micro"),
    [
        ([], DEAR),
        (["judge"], CHEAP + DEAR),
        (["judge", "judge"], 2 * CHEAP + DEAR),
        (["chat"], 2 * DEAR),
        (["other", "judge", "chat"], CHEAP + 3 * DEAR),
    ],
)
async def test_each_call_is_priced_by_the_model_that_it_went_to(
    tmp_path: Path, asks: list[str], micro: int
) -> None:
    budget = 'limits = { cost = "50 EUR/day" }'
    async with (
        running(tmp_path, budget) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, verify=False) as client,
    ):
        reply = await client.post("/v1/words", json={"model": "chat", "asks": asks})
        path = f"/v1/usage/{reply.headers['x-request-id']}"
        cost = (await client.get(path)).json()["cost"]
        after = await client.get("/v1/models")
    [row] = rows(gateway.ledger)
    lines = {(line["unit"], line.get("model", "")): line["count"] for line in cost["lines"]}
    judged = 10 * asks.count("judge")

    assert reply.status_code == 200, reply.text
    assert row.units["words.input_tokens"] == 10 * (len(asks) + 1)
    assert cost["micro"] == micro
    assert lines.pop(("words.input_tokens", "judge"), 0) == judged
    assert lines == {("words.input_tokens", ""): 10 * (len(asks) + 1) - judged}
    assert after.headers["x-ratelimit-remaining-cost"] == str((50_000_000 - micro) // 1_000_000)


async def test_a_models_limit_counts_what_its_own_calls_used(tmp_path: Path) -> None:
    each = 'cost = "50 EUR/day"\nunits = { "words.output_tokens" = "1000/day" }'
    limits = "\n".join(f"[tenant.acme.limits.models.{n}]\n{each}" for n in ("chat", "judge"))
    async with (
        running(tmp_path, limits, Guarded) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, verify=False) as client,
    ):
        first = await client.post("/v1/words", json={"model": "chat"})
        second = await client.post("/v1/words", json={"model": "chat"})

    assert first.status_code == 200, first.text
    left = [second.headers[f"x-ratelimit-remaining-{name}"] for name in ("output-tokens", "cost")]
    assert left == [str(1000 - 30 - 90), str(50 - 1 - 1)]  # what the first did, and the second may


async def test_a_side_call_is_billed_also_where_the_plan_fails_to_say_what_it_did_cost(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, modality=Unsure) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, verify=False) as client,
    ):
        reply = await client.post("/v1/words", json={"model": "chat"})
    [row] = rows(gateway.ledger)

    assert (reply.status_code, row.ending, row.exact) == (500, "fault", False)
    assert row.units["words.input_tokens"] == 10


async def test_calls_that_are_drawn_reserve_once_what_they_need_beyond_the_reserve(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, modality=Drawing) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, verify=False) as client,
    ):
        reply = await client.post("/v1/words", json={"model": "chat"})
    [row] = rows(gateway.ledger)

    assert reply.status_code == 200, reply.text
    assert row.reserved == {"words.input_tokens": 40}


async def test_calls_that_are_drawn_are_afforded_one_by_one_and_no_further_than_the_budget(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, 'limits = { cost = "2 EUR/day" }', Drawing) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, verify=False) as client,
    ):
        reply = await client.post("/v1/words", json={"model": "chat"})
    [row] = rows(gateway.ledger)

    assert (reply.status_code, row.error) == (429, "insufficient_quota"), reply.text
    assert len(row.attempts) == 2


async def test_calls_that_are_drawn_for_another_model_reserve_as_if_it_had_been_asked_for(
    tmp_path: Path,
) -> None:
    made = plugin(modgate_modalities=[Drawing], modgate_dialects=[Plain])
    async with FakeBackend() as broken, FakeBackend() as engine:
        broken.answer("/words", Scripted(status=500))
        engine.answer("/words", Scripted(reply=b'{"word": "yes"}'))
        async with (
            await start(
                tmp_path,
                [
                    {"url": broken.url, "serves": {"chat": "chat"}},
                    {"url": engine.url, "serves": {"small": "small"}},
                ],
                plugins=["words"],
                models={"chat": "words", "small": "words"},
                facts={"chat": 'fallback = ["small"]'},
                tenants={"acme": "fallback = true"},
                extra={"words": made},
            ) as gateway,
            httpx.AsyncClient(
                base_url=gateway.url, headers=gateway.headers, verify=False
            ) as client,
        ):
            reply = await client.post("/v1/words", json={"model": "chat"})
    [row] = rows(gateway.ledger)

    assert (reply.status_code, row.model) == (200, "small"), reply.text
    assert row.reserved == {"words.input_tokens": 40}
