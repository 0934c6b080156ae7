"""What gateways of two versions share of limits: keys in Redis, and what an owner writes down.

`golden/redis-v1.json` is all that version 1 left in Redis, key by key; `levels-v1.msgpack` what it
wrote beside a socket.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis
from servers import redis

from modgate.limits.levels import Levels, Limit
from modgate.limits.redis_store import RedisStore

GOLDEN = Path(__file__).parent / "golden"
NOW_MS = 4_102_444_800_000  # 2100: a server forgets windows that are over
TTL_MS = 30_000
TAG = "{acme}"
BUCKET = Limit(
    key=f"{TAG}:tenant:llm.output_tokens:minute", kind="b", amount=600, period_ms=60_000, burst=600
)
WINDOW = Limit(
    key=f"{TAG}:tenant:requests:day:4102444800", kind="w", amount=50, period_ms=NOW_MS + 86_400_000
)
PLACES = Limit(key=f"{TAG}:tenant:in_flight", kind="c", amount=5)
WANTED = ((BUCKET, 100), (WINDOW, 1), (PLACES, 1))
FIRST, SECOND, THIRD = (f"{TAG}gw-{number}" for number in (1, 2, 3))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[RedisStore, Redis]]:
    """A store of its own, and a client that looks into it."""
    with redis(folder) as server:
        store, client = RedisStore(server.url), Redis.from_url(server.url, decode_responses=True)
        try:
            yield store, client
        finally:
            await client.aclose()
            await store.close()


async def dumped(client: Redis) -> dict[str, object]:
    """Every key with its type and value."""
    found: dict[str, object] = {}
    for key in sorted(await client.keys("*")):
        kind = await client.type(key)
        match kind:
            case "hash":
                found[key] = dict(sorted((await client.hgetall(key)).items()))
            case "zset":
                found[key] = [
                    list(each) for each in await client.zrange(key, 0, -1, withscores=True)
                ]
            case _:
                found[key] = await client.get(key)
    return found


async def restored(client: Redis, golden: dict[str, object]) -> None:
    for key, value in golden.items():
        match value:
            case dict():
                await client.hset(key, mapping=value)
            case list():
                await client.zadd(key, dict(value))
            case _:
                await client.set(key, str(value))


async def lived(store: RedisStore) -> None:
    """One request that is over, one whose tokens were measured, and a gateway."""
    for rid in (FIRST, SECOND):
        assert (await store.reserve(rid, WANTED, TTL_MS, NOW_MS)).denied is None
    await store.touch(SECOND, (40, 1, 1), TTL_MS, NOW_MS + 10)
    await store.settle(FIRST, (30, 1, 0), NOW_MS + 20)
    await store.owe(THIRD, ((WINDOW, 2),), NOW_MS + 30)
    await store.join("gw-a", TTL_MS, NOW_MS)


async def test_keys_and_records_in_redis_are_those_of_the_golden_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, client):
        await lived(store)
        found = await dumped(client)

    assert found == json.loads((GOLDEN / "redis-v1.json").read_text())
    records = [value for key, value in found.items() if ":record:" in key]
    assert [isinstance(each, dict) and each["v"] for each in records] == ["1"] * 3


@pytest.mark.parametrize("said", [True, False], ids=["v1", "before it said so"])
async def test_what_version_1_left_in_redis_is_gone_on_with(tmp_path: Path, said: bool) -> None:
    golden = json.loads((GOLDEN / "redis-v1.json").read_text())
    if not said:
        for value in golden.values():
            if isinstance(value, dict):
                value.pop("v", None)
    async with opened(tmp_path) as (store, client):
        await restored(client, golden)
        settled = [await store.settle(rid, (50, 1, 0), NOW_MS + 40) for rid in (FIRST, SECOND)]
        again = await store.reserve(f"{TAG}gw-4", WANTED, TTL_MS, NOW_MS + 40)
        alive = await store.join("gw-b", TTL_MS, NOW_MS + 40)

    levels = Levels()
    for rid in (FIRST, SECOND):
        levels.reserve(rid, WANTED, NOW_MS, TTL_MS)
    levels.settle(FIRST, (30, 1, 0), NOW_MS + 20)
    levels.owe(THIRD, ((WINDOW, 2),), NOW_MS + 30)
    levels.settle(SECOND, (50, 1, 0), NOW_MS + 40)
    levels.reserve(f"{TAG}gw-4", WANTED, NOW_MS + 40, TTL_MS)
    assert settled == [False, True]
    assert again.levels == tuple(levels.level(limit, NOW_MS + 40) for limit, _ in WANTED)
    assert alive == 2


async def test_a_field_of_the_next_version_disturbs_nobody(tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / "redis-v1.json").read_text())
    for value in golden.values():
        if isinstance(value, dict) and "v" in value:
            value |= {"v": "2", "later": "something"}
    async with opened(tmp_path) as (store, client):
        await restored(client, golden)
        settled = await store.settle(SECOND, (50, 1, 0), NOW_MS + 40)
        kept = await client.hget(f"modgate:{TAG}:record:gw-2", "later")

    assert settled
    assert kept == "something"


def test_what_an_owner_writes_down_is_that_of_the_golden_file() -> None:
    levels = Levels()
    for rid in (FIRST, SECOND):
        levels.reserve(rid, WANTED, NOW_MS, TTL_MS)
    levels.settle(FIRST, (30, 1, 0), NOW_MS + 20)
    golden = (GOLDEN / "levels-v1.msgpack").read_bytes()

    assert msgspec.msgpack.decode(levels.written()) == msgspec.msgpack.decode(golden)
    assert Levels.read(golden, NOW_MS + 20).written() == golden
