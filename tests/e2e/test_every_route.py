"""Whoever brought a route, it wants a key, keeps to a limit, and has a bill: no way leads around.

The routes are taken from the running gateway, the requests from the samples of the plugins, the
example of a third party among them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from aiohttp import ClientSession, FormData
from gateways import MODELS, Running, client, start
from oracle.engine import ScriptedEngine
from rigs.ledger import receipt as receipt_of

from modgate.auth import attempts
from modgate.ledger.reader import rows
from modgate.plugin import Receipt, Sample
from modgate.testing import FakeBackend, Scripted

EXAMPLE = Path(__file__).parents[2] / "examples" / "modgate-translate" / "src"
NAMES = {**MODELS, "words": "translate"}
NAME_OF = {modality: name for name, modality in NAMES.items()}
BILLED = f"req_{7:032x}"  # what a tenant that asks for its receipt had done before
PAGES = {"/v1/models": "/v1/models", "/v1/models/{id}": "/v1/models/chat"}
PAGES |= {"/openapi.json": "/openapi.json", "/v1/usage": "/v1/usage"}
PAGES |= {"/v1/usage/{id}": f"/v1/usage/{BILLED}"}
TENANTS = [f"t{number}" for number in range(128)]
COUNTS = ("/input_tokens", "/count_tokens")  # what costs nothing
ONCE = 'limits = { requests = "1/hour" }'


@dataclass(frozen=True, kw_only=True)
class Case:
    """A good request to one route, for a model of one modality; a page has none."""

    route: str
    path: str
    modality: str = ""
    sample: Sample | None = None

    def __str__(self) -> str:
        return f"{self.route} {self.modality}".strip()


def cases(running: Running) -> Iterator[Case]:
    """Every live route, once for each modality that answers it, and the pages of core."""
    table = running.app.gateway.table
    for path, route in table.routes.items():
        for modality, endpoint in route.endpoints.items():
            fitting = [
                sample
                for sample in table.modalities[modality].samples
                if sample.path == endpoint.path and not sample.facts
            ]
            fitting.sort(key=lambda sample: len(sample.answers))
            yield Case(route=path, path=path, modality=modality, sample=fitting[0])
    for name, path in PAGES.items():
        yield Case(route=name, path=path)


@asynccontextmanager
async def gateway(folder: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    """All plugins and the example, over engines that answer well."""
    async with FakeBackend() as shouting:
        shouting.answer("/translate", Scripted(reply=b'{"translatedText":"BONJOUR"}'))
        first = {"url": engine.url, "serves": {name: f"engine-{name}" for name in MODELS}}
        second = {"url": shouting.url, "family": "libretranslate", "serves": {"words": "any"}}
        async with await start(
            folder,
            [first, second],
            extra={"translate": import_module("acme_translate")},
            tenants=dict.fromkeys(TENANTS, ONCE),
            plugins=tuple(NAMES.values()),
            models=NAMES,
        ) as running:
            yield running


@pytest.fixture(autouse=True)
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example can be imported, as if it were installed."""
    monkeypatch.syspath_prepend(EXAMPLE)


async def asked(client: ClientSession, url: str, case: Case, key: str | None) -> tuple[int, str]:
    """The status of a case, and its request's id; the reply is read to its end."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    method = "GET" if case.sample is None else "POST"
    body = {} if case.sample is None else body_of(case.sample, NAME_OF[case.modality])
    async with client.request(method, url + case.path, headers=headers, **body) as reply:
        await reply.read()
        return reply.status, reply.headers["x-request-id"]


def body_of(sample: Sample, model: str) -> dict[str, object]:
    """A sample's body with the model's name, as a client sends it."""
    if sample.form is None:
        return {"json": {**(sample.json or {}), "model": model}}
    form = FormData()
    for name, value in {**sample.form, "model": model}.items():
        if isinstance(value, str):
            form.add_field(name, value)
        else:
            form.add_field(name, value[1], filename=value[0])
    return {"data": form}


class Receipts:
    """Every receipt, as it comes: behind the reply's last byte."""

    def __init__(self, running: Running) -> None:
        self.all: list[Receipt] = []
        self._came = asyncio.Event()
        running.app.state.observer.also(self._add)

    def _add(self, receipt: Receipt) -> None:
        self.all.append(receipt)
        self._came.set()

    async def reach(self, count: int) -> list[Receipt]:
        """All of them, once there are so many."""
        async with asyncio.timeout(10):
            while len(self.all) < count:
                self._came.clear()
                await self._came.wait()
        return self.all


async def test_every_path_that_is_described_is_driven(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    async with gateway(tmp_path, engine) as running, client() as session:
        key = {"Authorization": f"Bearer {running.key}"}
        async with session.get(running.url + "/openapi.json", headers=key) as reply:
            described = await reply.json()
        driven = {case.route for case in cases(running)}
        modalities = {case.modality for case in cases(running)}

    assert driven == {*described["paths"], "/openapi.json"}
    assert {"/v1/translate", "/translate/v1/translate"} < driven
    assert modalities == {*NAMES.values(), ""}


async def test_without_a_key_every_route_answers_401_and_asks_no_engine(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BURST", 10_000)
    async with gateway(tmp_path, engine) as running, client() as session:
        written = Receipts(running)
        statuses = {
            str(case): [
                (await asked(session, running.url, case, key))[0]
                for key in (None, "mg_test_wrong", f"{running.key[:-1]}~")
            ]
            for case in cases(running)
        }
        receipts = await written.reach(3 * len(statuses))

    assert {case: said for case, said in statuses.items() if said != [401] * 3} == {}
    assert [record for record in engine.records if record.method == "POST"] == []
    assert [receipt for receipt in receipts if receipt.admitted or receipt.units] == []
    assert list(rows(running.ledger)) == []


@pytest.mark.slow
async def test_every_route_keeps_to_the_limit_and_bills_what_was_admitted_once(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    said: dict[str, tuple[int, str, int]] = {}
    async with gateway(tmp_path, engine) as running, client() as session:
        written = Receipts(running)
        told = list(cases(running))
        assert len(told) <= len(TENANTS)
        tenants = dict(zip(TENANTS, told, strict=False))
        for tenant, case in tenants.items():
            running.app.state.statements.recent.observe(receipt_of(BILLED, tenant=tenant))
            status, request_id = await asked(session, running.url, case, running.keys[tenant])
            again, _ = await asked(session, running.url, case, running.keys[tenant])
            said[tenant] = (status, request_id, again)
        receipts = await written.reach(2 * len(said))
    bills = {row.id: row for row in rows(running.ledger)}

    wrong = {str(tenants[t]): s for t, s in said.items() if (s[0], s[2]) != (200, 429)}
    assert wrong == {}
    admitted = {receipt.tenant: receipt for receipt in receipts if receipt.admitted}
    refused = [receipt for receipt in receipts if not receipt.admitted]
    assert Counter(r.tenant for r in receipts if r.admitted) == dict.fromkeys(said, 1)
    assert Counter(receipt.tenant for receipt in refused) == dict.fromkeys(said, 1)
    assert [receipt for receipt in refused if receipt.units or receipt.status != 429] == []
    metered = {said[t][1] for t, case in tenants.items() if case.modality}
    assert Counter(row.id for row in rows(running.ledger)) == dict.fromkeys(metered, 1)
    declared = {
        name: [f"{name}.{unit.name}" for unit in modality.units]
        for name, modality in running.app.gateway.table.modalities.items()
    }
    for tenant, case in tenants.items():
        receipt = admitted[tenant]
        assert (receipt.request_id, receipt.route) == (said[tenant][1], case.route), str(case)
        assert (receipt.ending, receipt.exact) == ("ok", True), str(case)
        if not case.modality:
            assert receipt.units == {}
            continue
        counted = [receipt.units.get(name, 0) for name in declared[case.modality]]
        assert receipt.units[f"{case.modality}.requests"] == 1
        assert (max(counted) > 0) != case.route.endswith(COUNTS), str(case)
        row = bills[receipt.request_id]
        assert row.units == {name: count for name, count in receipt.units.items() if count}
        assert (row.tenant, row.modality) == (tenant, case.modality)
