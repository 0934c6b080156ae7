"""A plan whose calls go to several models: each is reserved, limited and billed as its own's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from gateways import Running, start
from toys.several import BOOK, SEVERAL

from modgate.ledger.reader import rows
from modgate.ledger.records import Ended
from modgate.testing import FakeBackend, Scripted

OWN, JUDGED, HEARD = 1_000_000, 7_000, 6_000_000  # micro-units of a call each


@asynccontextmanager
async def gateway(folder: Path, tenant: str = "", *said: Scripted) -> AsyncIterator[Running]:
    async with FakeBackend() as engine:
        engine.answer("/words", *(said or [Scripted(reply=b'{"word": "yes"}')]))
        async with await start(
            folder,
            [{"url": engine.url}],
            plugins=["words", "sounds"],
            models={"chat": "words", "judge": "words", "ear": "sounds"},
            tenants={"acme": tenant},
            extra=SEVERAL,
            more=BOOK,
        ) as running:
            yield running


async def asked(
    running: Running, calls: Sequence[str], *, dry: bool = False, **more: object
) -> httpx.Response:
    body = {"model": "chat", "calls": [*calls], **more}
    headers = {**running.headers, "x-modgate-dry-run": str(dry)}
    async with httpx.AsyncClient(base_url=running.url, headers=headers) as client:
        return await client.post("/v1/words", json=body)


async def micro(running: Running, reply: httpx.Response) -> int:
    async with httpx.AsyncClient(base_url=running.url, headers=running.headers) as client:
        path = f"/v1/usage/{reply.headers['x-request-id']}"
        return int((await client.get(path)).json()["cost"]["micro"])


def billed(running: Running) -> Ended:
    [row] = rows(running.ledger)
    return row


def units(row: Ended) -> dict[str, int]:
    usual = ("requests", "bytes_in", "bytes_out")
    return {name: n for name, n in row.units.items() if name.partition(".")[2] not in usual}


@pytest.mark.parametrize("how", [{}, {"width": 3}, {"lazy": True}], ids=str)
@pytest.mark.parametrize(
    ("calls", "used", "cost"),
    [
        (["", ""], {"words.input_tokens": 20}, 2 * OWN),
        (["", "judge"], {"words.input_tokens": 17}, OWN + JUDGED),
        (["judge", "judge"], {"words.input_tokens": 14}, 2 * JUDGED),
        (["judge", "", "ear"], {"words.input_tokens": 17, "sounds.audio_ms": 3000},
         OWN + JUDGED + HEARD),
    ],
)  # fmt: skip  # a case is a line
async def test_each_call_is_billed_as_its_models_modality_counts_and_priced_as_its_model(
    tmp_path: Path, calls: list[str], used: dict[str, int], cost: int, how: dict[str, object]
) -> None:
    async with gateway(tmp_path, 'limits = { cost = "50 EUR/day" }') as running:
        reply = await asked(running, calls, **how)
        priced = await micro(running, reply)
        after = await asked(running, [])
    row = next(iter(rows(running.ledger)))

    assert reply.status_code == 200, reply.text
    assert (units(row), row.exact, row.ending) == (used, True, "ok")
    assert priced == cost
    assert after.headers["x-ratelimit-remaining-cost"] == str((50_000_000 - cost) // 1_000_000)


async def test_each_call_is_reserved_once_and_of_its_own_modality(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        await asked(running, ["", "judge", "ear"])

    assert billed(running).reserved == {"words.input_tokens": 20, "sounds.audio_ms": 9000}


async def test_a_models_limit_is_charged_what_its_own_calls_used(tmp_path: Path) -> None:
    each = 'units = { "words.input_tokens" = "1000/day" }'
    limits = "\n".join(f"[tenant.acme.limits.models.{n}]\n{each}" for n in ("chat", "judge"))
    async with gateway(tmp_path, limits) as running:
        await asked(running, ["", "judge", "judge"])
        left = [await asked(running, [], model=name) for name in ("chat", "judge")]
    told = [each.headers["x-ratelimit-remaining-input-tokens"] for each in left]

    assert told == [str(1000 - 10), str(1000 - 14)]


async def test_a_reply_of_another_model_that_comes_in_pieces_could_not_be_counted(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        reply = await asked(running, ["judge"], reply="sse")

    assert reply.status_code == 500
    assert (units(billed(running)), billed(running).attempts) == ({}, [])


async def test_an_answer_of_another_model_that_cannot_be_counted_is_its_engines_bad_reply(
    tmp_path: Path,
) -> None:
    """And a plan that may lack it is billed without it."""
    async with gateway(tmp_path, "", Scripted(reply=b"{}")) as running:
        whole = await asked(running, ["", "judge"])
        part = await asked(running, ["", "judge"], partial=True)
    ended = [(row.ending, row.error, units(row)) for row in rows(running.ledger)]

    assert (whole.status_code, part.status_code) == (502, 200)
    assert ended == [
        ("upstream_failed", "upstream_invalid_response", {"words.input_tokens": 10}),
        ("ok", "", {"words.input_tokens": 10}),
    ]


async def test_what_others_answered_is_known_exactly_where_the_own_call_is_refused(
    tmp_path: Path,
) -> None:
    good = Scripted(reply=b'{"word": "yes"}')
    async with gateway(tmp_path, "", good, Scripted(status=400)) as running:
        reply = await asked(running, ["judge", ""])
    row = billed(running)

    assert (reply.status_code, row.ending) == (400, "refused")
    assert (units(row), row.exact) == ({"words.input_tokens": 7}, True)


async def test_a_dry_run_says_what_calls_of_other_models_would_reserve_and_cost(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, 'limits = { cost = "50 EUR/day" }') as running:
        said = (await asked(running, ["", "judge", "ear"], dry=True)).json()
        after = await asked(running, [])
    judge, ear = 10_000, 18_000_000

    assert said["reserved"] == {"words.input_tokens": 20, "sounds.audio_ms": 9000}
    assert said["cost"]["micro"] == OWN + judge + ear
    assert after.headers["x-ratelimit-remaining-cost"] == "50"


@pytest.mark.parametrize(
    ("tenant", "status", "more"),
    [
        ('models = ["chat"]', 404, {}),
        ('limits = { models.judge = { units = { "words.input_tokens" = "9/day" } } }', 413, {}),
        ('limits = { units = { "words.input_tokens" = "15/day" } }', 429, {}),
        ("", 500, {"reply": "sse"}),
    ],
)
async def test_a_dry_run_is_refused_what_a_call_of_another_model_would_be(
    tmp_path: Path, tenant: str, status: int, more: dict[str, object]
) -> None:
    async with gateway(tmp_path, tenant) as running:
        tried = await asked(running, ["judge", "judge"], dry=True, **more)
        sent = await asked(running, ["judge", "judge"], **more)

    assert (tried.status_code, sent.status_code) == (status, status)
    assert tried.json()["error"]["code"] == sent.json()["error"]["code"]


async def test_a_dry_run_reserves_for_calls_beyond_what_their_plan_foresees(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        said = (await asked(running, ["", "", ""], dry=True, foresees=1)).json()

    assert said["reserved"] == {"words.input_tokens": 30}
