"""What is a caller's stays in its regions, on every way out of a gateway.

Each world has one way that leads abroad, and all others at home: so each check is needed by itself.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import msgspec
import pytest
from aiohttp import web
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.media import png
from rigs.drafts import drafted
from servers import Server

from modgate import spool
from modgate.api.auth import Caller, Policy
from modgate.api.body import Body
from modgate.api.residency import may_lie, sorted_regions
from modgate.api.select import Backend
from modgate.dispatch import guard_residency
from modgate.errors import NoBackend
from modgate.idempotency import IdempotencyKeys, Retention
from modgate.ledger.frames import Frame, Kind
from modgate.ledger.reader import rows
from modgate.ledger.records import Adjusted, Opened, crashed
from modgate.ledger.rows import rows_of
from modgate.problems import ConfigError
from modgate.replays.memory import MemoryReplays
from modgate.replays.redis_store import RedisReplays

Way = Literal["engine", "sink", "trace", "fetch", "limits", "spool", "state"]
WAYS: tuple[Way, ...] = get_args(Way)
REFUSING: tuple[Way, ...] = ("limits", "spool", "state")  # on these every request leaves something
KEPT, FREE = "keptathome", "goesanywhere"
LIMITS = 'limits = { requests = "1000/hour" }'
TENANTS = {KEPT: f'regions = ["eu"]\n{LIMITS}', FREE: LIMITS}


@dataclass
class Abroad:
    """What a place outside the gateway was told: bytes of traces, paths that were fetched."""

    traces: bytes = b""
    paths: list[str] = field(default_factory=list)
    url: str = ""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            self.traces += await request.read()
            return web.Response()
        self.paths.append(request.path)
        return web.Response(body=png(16, 16), content_type="image/png")


@asynccontextmanager
async def listening() -> AsyncIterator[Abroad]:
    """A server for traces and files."""
    made = Abroad()
    runner = web.ServerRunner(web.Server(made))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
def spooled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every spool file that is made."""
    made: list[int] = []
    unnamed = spool._unnamed

    def noted(directory: Path) -> int:
        made.append(unnamed(directory))
        return made[-1]

    monkeypatch.setattr(spool, "_unnamed", noted)
    return made


def configured(abroad: Way, folder: Path, store: Server, outside: Abroad) -> str:
    """The configuration in which one way leads abroad."""

    def stands(way: Way) -> str:
        return f'region = "{"us" if way == abroad else "eu"}"'

    return f"""
[state]
{stands("state")}
[spool]
{stands("spool")}
[[ledger.sink]]
kind = "sqlite"
path = "{folder / "rows.sqlite"}"
{stands("sink")}
[limits.store]
url = "{store.url}"
deadline = "500ms"
{stands("limits")}
[trace]
otlp = "{outside.url}"
sample = 1.0
{stands("trace")}
[fetch]
allow = ["{outside.url}"]
{stands("fetch")}
"""


async def asked(running: Running, tenant: str, outside: Abroad) -> list[ClientRecord]:
    """An upload, and a picture by URL."""
    upload = ask.transcription(1, model="ears", duration_ms=500)
    seen = ask.vision(2, model="eyes", stream=False)
    body = json.loads(seen.body)
    for part in body["messages"][-1]["content"]:
        if part["type"] == "image_url":
            part["image_url"] = {"url": f"{outside.url}/{tenant}.png"}
    seen = replace(seen, body=json.dumps(body).encode())
    return [await send(running.url, each, key=running.keys[tenant]) for each in (upload, seen)]


async def told(tenant: str, folder: Path, store: Server, outside: Abroad) -> dict[Way, bool]:
    """Where something of a tenant was found, of what can be looked at when all is over."""
    from redis.asyncio import Redis

    client = Redis.from_url(store.url)
    keys = await client.keys(f"*{{{tenant}}}*")
    await client.aclose()
    with closing(sqlite3.connect(folder / "rows.sqlite")) as db:
        kept = db.execute("SELECT tenant FROM modgate_usage").fetchall()
    return {
        "sink": (tenant,) in kept,
        "trace": tenant.encode() in outside.traces,
        "fetch": f"/{tenant}.png" in outside.paths,
        "limits": bool(keys),
    }


@pytest.mark.parametrize("abroad", WAYS)
async def test_nothing_of_a_caller_goes_abroad(
    tmp_path: Path, store: Server, spooled: list[int], abroad: Way
) -> None:
    found: dict[str, dict[Way, bool]] = {}
    async with ScriptedEngine() as home, ScriptedEngine() as far, listening() as outside:
        served = {"ears": "e", "eyes": "v"}
        engines: list[dict[str, object]] = [
            {"url": home.url, "region": "eu", "serves": {"chat": "c"} | served},
            {"url": far.url, "region": "us", "serves": {"chat": "c"}},
        ]
        if abroad == "engine":
            engines = [
                {"url": home.url, "region": "eu", "serves": {"chat": "c"}},
                {"url": far.url, "region": "us", "serves": served},
            ]
        more = configured(abroad, tmp_path, store, outside)
        async with await start(tmp_path, engines, tenants=TENANTS, more=more) as running:
            for tenant in (KEPT, FREE):
                files, calls = len(spooled), len(home.records) + len(far.records)
                await asked(running, tenant, outside)
                found[tenant] = {
                    "spool": len(spooled) > files,
                    "state": any(tenant == row for row in ledger_tenants(running)),
                    "engine": len(home.records) + len(far.records) > calls,
                }
        for tenant, ways in found.items():
            ways.update(await told(tenant, tmp_path, store, outside))

    # That it was refused is told at home.
    stays = {*WAYS} - {"trace"} if abroad in REFUSING else {abroad}
    assert found[FREE] == dict.fromkeys(WAYS, True)
    assert {way for way in WAYS if not found[KEPT][way]} == stays


def ledger_tenants(running: Running) -> list[str]:
    """Whose rows lie in the state directory."""
    return [row.tenant for row in rows(running.ledger)]


@pytest.mark.parametrize("regions", [None, frozenset({"eu"}), frozenset({"us", "eu"}), frozenset()])
async def test_a_key_lies_in_the_shared_store_only_where_it_may(
    store: Server, regions: frozenset[str] | None
) -> None:
    from redis.asyncio import Redis

    client = Redis.from_url(store.url)
    local = MemoryReplays(lambda: 0.0)
    keys = IdempotencyKeys(local, RedisReplays(client, 0.5, region="us"), Retention(bodies=True))
    draft = drafted(caller=Caller(tenant=KEPT, key_id="k", policy=Policy(regions=regions)))

    async def work() -> None:
        await keyed.keep({}, b"what the engine said")

    keyed = keys.request({"idempotency-key": "a key"}, draft, "/v1/embeddings")
    await keyed.serve(Body.json(b"{}"), work)
    there = await client.keys("*")
    await keys.close()
    await client.aclose()

    assert bool(there) == may_lie(regions, "us")
    assert local.count == (0 if may_lie(regions, "us") else 1)


@pytest.mark.parametrize("now", [None, frozenset({"eu"})])
async def test_a_key_is_freed_where_a_policy_took_the_stores_region(
    store: Server, now: frozenset[str] | None
) -> None:
    from redis.asyncio import Redis

    client = Redis.from_url(store.url)
    keys = IdempotencyKeys(
        MemoryReplays(lambda: 0.0), RedisReplays(client, 0.5, region="us"), Retention(bodies=True)
    )
    draft = drafted(caller=Caller(tenant=KEPT, key_id="k"))

    async def work() -> None:
        draft.caller = replace(draft.caller, policy=Policy(regions=now))
        await keyed.keep({}, b"what the engine said")

    keyed = keys.request({"idempotency-key": "a key"}, draft, "/v1/embeddings")
    await keyed.serve(Body.json(b"{}"), work)
    await keys.close()
    there = await client.keys("*")
    await client.aclose()

    assert bool(there) == (now is None)


def test_data_may_lie_in_its_regions_and_in_none_that_has_no_name() -> None:
    some = frozenset({"eu", "ch"})

    assert [may_lie(each, "eu") for each in (None, some, frozenset[str]())] == [True, True, False]
    assert [may_lie(some, where) for where in ("us", "", None)] == [False, False, True]
    for regions, where in product((some, frozenset[str]()), ("eu", "us", "")):
        assert may_lie(regions, where) == (where in regions)


def test_the_ways_are_all_that_are_named() -> None:
    """Who asks the rule, so that a new way out comes here, too."""
    root = Path(__file__).parents[2] / "core" / "src"
    asking = subprocess.run(
        ["grep", "-rlE", r"may_lie\(", str(root)], capture_output=True, text=True, check=True
    ).stdout.split()

    assert {Path(each).stem for each in asking} == {
        *("residency", "dispatch", "gateway", "idempotency", "state", "rows", "otel", "holding")
    }


async def test_what_leaves_the_machine_must_say_where_it_stands(tmp_path: Path) -> None:
    more = '[limits.store]\nurl = "redis://127.0.0.1:1"\n[[ledger.sink]]\nkind = "postgres"\n'
    more += 'url = "postgresql://u@h/d"\n[trace]\notlp = "http://127.0.0.1:1"\n'
    backends = [{"url": "http://127.0.0.1:1", "region": "eu"}]
    with pytest.raises(ConfigError) as raised:
        await start(tmp_path, backends, tenants=TENANTS, more=more)

    told = [str(problem) for problem in raised.value.problems]
    assert len(told) == 3
    for section in ("[ledger.sink.0]", "[limits.store]", "[trace]"):
        assert any(section in each and "give it a `region`" in each for each in told)


async def test_a_refused_caller_is_told_why_before_its_body_is_read(tmp_path: Path) -> None:
    async with (
        ScriptedEngine() as engine,
        await start(
            tmp_path,
            [{"url": engine.url, "region": "eu"}],
            tenants=TENANTS,
            more='[state]\nregion = "us"\n',
        ) as running,
    ):
        reply = await send(running.url, ask.embeddings(1, model="vectors"), key=running.keys[KEPT])
        await asyncio.sleep(0)

    assert reply.status == 403
    assert json.loads(reply.body)["error"]["code"] == "region_forbidden"
    assert engine.records == []


@pytest.mark.parametrize(
    "regions", [None, frozenset({"eu"}), frozenset({"us", "eu"}), frozenset[str]()]
)
@pytest.mark.parametrize("region", ["eu", "us", "", None])
def test_rows_ends_of_a_crash_and_corrections_stay(
    regions: frozenset[str] | None, region: str | None
) -> None:
    kept = sorted_regions(regions)
    opened = Opened(v=1, id="req_1", wall=1.0, tenant=KEPT, modality="llm", regions=kept)
    said = Adjusted(id="req_1", sequence=1, wall=2.0, reason="price", regions=kept)
    records = ((Kind.END, crashed(opened, None, 1.0)), (Kind.ADJUST, said))
    frames = [
        Frame(kind=kind, payload=msgspec.msgpack.encode(each), chain=b"", end=0)
        for kind, each in records
    ]

    assert len(list(rows_of(frames, "w", region))) == (2 if may_lie(regions, region) else 0)


@pytest.mark.parametrize("regions", [None, frozenset({"eu"}), frozenset[str]()])
def test_the_one_door_to_engines_asks_the_rule_by_itself(regions: frozenset[str] | None) -> None:
    caller = Caller(tenant=KEPT, key_id="k", policy=Policy(regions=regions))
    for region in ("eu", "us", ""):
        far = Backend(name="b", family="home", url="http://127.0.0.1:1", serves={}, region=region)
        with nullcontext() if may_lie(regions, region) else pytest.raises(NoBackend):
            guard_residency(far, caller)
