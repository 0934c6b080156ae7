"""Asides, drawn calls, another model, and clients that leave, all at once and at random:
limits, budgets and ledger end with the same figures, and these are what was answered."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest
from gateways import Running, start
from toys.several import BOOK, SEVERAL
from waiting import until

from modgate.api.json import JsonObject
from modgate.api.price import BUDGET
from modgate.ledger.reader import rows
from modgate.ledger.records import Ended
from modgate.money.invoice import money_by
from modgate.testing import FakeBackend, Scripted

UNIT, HEARD = "words.input_tokens", "sounds.audio_ms"
MODELS = {"chat": "words", "small": "words", "judge": "words", "ear": "sounds"}
MICRO = {"chat": 100_000, "small": 100_000, "judge": 1000}  # a token of each
REQUESTS = 24


def limits(much: int) -> str:
    """Of all models and of each, in force and in shadow."""
    own = f'cost = "{much} EUR/day"\nunits = {{ "{UNIT}" = "{much}/day" }}'
    each = "".join(f"[tenant.acme.limits.models.{name}]\n{own}\n" for name in MICRO)
    every = f'units = {{ "{UNIT}" = "{much}/day", "sounds.audio_seconds" = "{much}/day" }}'
    return f'fallback = true\n[tenant.acme.limits]\ncost = "{much} EUR/day"\n{every}\n{each}'


def answers(rng: random.Random) -> list[Scripted]:
    good = b'{"word": "yes"}'
    kinds = [
        *[Scripted(reply=good)] * 12,
        Scripted(reply=good, pause_s=0.02),
        Scripted(reply=b"{}"),
        Scripted(status=500),
        Scripted(status=400),
        Scripted(fault="reset"),
    ]
    return [*rng.choices(kinds, k=REQUESTS * 8), Scripted(reply=good)]


def request(rng: random.Random) -> JsonObject:
    return {
        "model": "chat",
        "asks": rng.choices(("judge", "ear", "chat"), k=rng.choice((0, 0, 1, 2))),
        "calls": rng.choices(("", "", "judge", "ear"), k=rng.randrange(5)),
        "width": rng.choice((1, 3)),
        "lazy": rng.random() < 0.4,
        "partial": rng.random() < 0.3,
    }


async def one(running: Running, body: JsonObject, patience_s: float) -> None:
    """A client's request; it leaves when its patience is over."""
    async with httpx.AsyncClient(base_url=running.url, headers=running.headers) as client:
        try:
            async with asyncio.timeout(patience_s):
                await client.post("/v1/words", json=body)
        except TimeoutError:
            pass


def by_model(row: Ended) -> Counter[tuple[str, str]]:
    """A row's units by (unit, model), as its attempts tell them apart."""
    found = Counter({(unit, row.model): row.units.get(unit, 0) for unit in (UNIT, HEARD)})
    for each in row.attempts:
        for unit, count in each.get("units", {}).items():
            found[unit, row.model] -= count
            found[unit, each["model"]] += count
    return found


def charged(running: Running) -> Counter[tuple[str, str]]:
    """What limits have, by unit and model; '' = of all models."""
    found: Counter[tuple[str, str]] = Counter()
    for key, level in running.app.state.limits.levels._levels.items():
        *scope, unit, _, _ = key.split(":")  # of a tenant, or of a model of its
        found[unit, scope[-1] if "model" in scope else ""] += level.value
    return found


def is_of_its_calls(row: Ended) -> bool:
    """Whether it is billed for its own calls that ended well; one that was cut, for no more."""
    apart = sum(each.get("units", {}).get(UNIT, 0) for each in row.attempts)
    own = [each for each in row.attempts if each["call"] >= 0 and "units" not in each]
    well = sum(each["state"] == "ok" and each["model"] == row.model for each in own)
    billed = row.units.get(UNIT, 0) - apart
    return billed == 10 * well if row.ending == "ok" else 0 <= billed <= 10 * well


@pytest.mark.slow
@pytest.mark.parametrize("much", [1_000_000, 1_500])
@pytest.mark.parametrize("seed", range(3))
async def test_limits_budgets_and_ledger_end_with_what_was_answered(
    tmp_path: Path, seed: int, much: int
) -> None:
    rng = random.Random(seed)
    async with FakeBackend() as engine:
        engine.answer("/words", *answers(rng))
        async with await start(
            tmp_path,
            [{"url": engine.url}],
            plugins=["words", "sounds"],
            models=MODELS,
            facts={"chat": 'fallback = ["small"]'},
            tenants={"acme": limits(much)},
            extra=SEVERAL,
            more=BOOK,
        ) as running:
            sent = [
                one(running, request(rng), rng.choice((30.0, 30.0, rng.random() / 30)))
                for _ in range(REQUESTS)
            ]
            for at in range(0, REQUESTS, 6):
                await asyncio.gather(*sent[at : at + 6])
            await until(lambda: not running.app.state.limits.total.get("in_flight"))
            found, tariff = charged(running), running.app.gateway.budgets.tariff
            ended = list(rows(running.ledger))
    due: Counter[tuple[str, str]] = Counter()
    for row in ended:
        for (unit, model), count in by_model(row).items():
            due[unit, ""] += count
            if unit == UNIT:
                due[unit, model] += count
                due[BUDGET, model] += count * MICRO[model]
    due[BUDGET, ""] = sum(line.micro for line in money_by(ended, ("tenant",), tariff).values())

    assert +found == +due
    assert [row for row in ended if not is_of_its_calls(row)] == []
    assert {row.ending for row in ended} > {"ok"}
