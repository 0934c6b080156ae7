"""Records in Redis: as in memory, for as long as they are wanted, and beside those of another
version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis
from rigs.drafts import drafted
from servers import Server, redis

from modgate import idempotency as module
from modgate.api.auth import Caller
from modgate.api.body import Body
from modgate.errors import IdempotencyUnavailable, KeyReused
from modgate.replays.memory import MemoryReplays
from modgate.replays.record import VERSION, Record
from modgate.replays.redis_store import RedisReplays, key_of
from modgate.replays.store import Name, Replays, ReplaysDown

GOLDEN = Path(__file__).parent / "golden"
PATIENT_S = 30.0  # how soon a store answers is no matter here
NAME = Name.of("acme", "/v1/embeddings", "a key")
MINE = Record(state="running", digest=b"d" * 32, request_id="req_mine")
OTHER = replace(MINE, request_id="req_other")
DONE = replace(MINE, state="done", status=200, headers={"content-type": "x/y"}, body=b"said")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Redis]:
    made = Redis.from_url(server.url)
    await made.flushall()
    yield made
    await made.aclose()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Replays:
    if request.param == "memory":
        return MemoryReplays(lambda: 0.0)
    return RedisReplays(request.getfixturevalue("client"), PATIENT_S)


async def test_a_key_is_of_who_came_first_until_it_is_free(store: Replays) -> None:
    assert await store.find(NAME) is None
    assert await store.claim(NAME, MINE) is None
    assert await store.claim(NAME, OTHER) == MINE
    await store.free(NAME, OTHER)
    assert await store.find(NAME) == MINE
    await store.free(NAME, MINE)

    assert await store.claim(NAME, OTHER) is None


async def test_what_is_done_stays_and_is_neither_freed_nor_kept_again(store: Replays) -> None:
    await store.claim(NAME, MINE)
    await store.keep(NAME, MINE, DONE, 60)
    await store.free(NAME, MINE)
    await store.renew(NAME, MINE)
    await store.keep(NAME, OTHER, replace(DONE, body=b"another"), 60)

    assert await store.claim(NAME, OTHER) == DONE


async def test_what_runs_is_forgotten_when_its_gateway_says_no_more(client: Redis) -> None:
    store = RedisReplays(client, PATIENT_S)
    await store.claim(NAME, MINE)
    begun_ms = await client.pttl(key_of(NAME))
    await client.pexpire(key_of(NAME), 5)
    await store.renew(NAME, MINE)
    renewed_ms = await client.pttl(key_of(NAME))
    await store.keep(NAME, MINE, DONE, 3600)
    kept_ms = await client.pttl(key_of(NAME))

    assert 27_000 < begun_ms <= 30_000
    assert 27_000 < renewed_ms <= 30_000
    assert 3_500_000 < kept_ms <= 3_600_000


async def test_what_version_1_left_is_found(client: Redis) -> None:
    store = RedisReplays(client, PATIENT_S)
    await client.set(key_of(NAME), (GOLDEN / "v1-kept.msgpack").read_bytes())
    found = await store.claim(NAME, OTHER)

    assert found is not None
    assert (found.state, found.status, found.body) == ("done", 200, b'{"ok":true}')


async def test_what_the_next_version_wrote_is_neither_run_again_nor_touched(client: Redis) -> None:
    store = RedisReplays(client, PATIENT_S)
    newer = msgspec.msgpack.encode((VERSION + 1, "done", {"who": "knows"}))
    await client.set(key_of(NAME), newer)
    found = await store.claim(NAME, OTHER)
    await store.keep(NAME, OTHER, DONE, 60)
    await store.free(NAME, OTHER)

    assert found is not None
    assert found.unknown
    assert await client.get(key_of(NAME)) == newer


async def test_a_paused_store_is_given_up_by_the_deadline(server: Server, client: Redis) -> None:
    store = RedisReplays(client, 0.05)
    server.pause()
    try:
        with pytest.raises(ReplaysDown):
            await store.find(NAME)
    finally:
        server.go_on()


async def test_where_nobody_knows_whether_the_key_was_taken_nothing_is_done(
    server: Server, client: Redis
) -> None:
    store = RedisReplays(client, 0.05)
    keys = module.IdempotencyKeys(MemoryReplays(lambda: 0.0), store, module.Retention())
    draft = drafted(request_id="req_mine", caller=Caller(tenant="acme", key_id="k"))
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    keyed = keys.request({"idempotency-key": "a key"}, draft, "/v1/embeddings")
    server.pause()
    try:
        with pytest.raises(IdempotencyUnavailable):
            await keyed.serve(Body.json(b"{}"), work)
        await keys.close()
    finally:
        server.go_on()

    assert done == []


async def test_large_bodies_are_told_apart_under_one_key() -> None:
    keys = module.IdempotencyKeys(MemoryReplays(lambda: 0.0), None, module.Retention(bodies=True))
    draft = drafted(request_id="req_mine", caller=Caller(tenant="acme", key_id="k"))
    large = bytes(module.INLINE_BYTES + 1)

    async def serve(body: bytes) -> Record | None:
        keyed = keys.request({"idempotency-key": "a key"}, draft, "/v1/embeddings")
        return await keyed.serve(Body.json(body), lambda: keyed.keep({}, b"said"))

    first, again = await serve(large), await serve(large)
    with pytest.raises(KeyReused):
        await serve(large[:-1] + b"x")

    assert first is None
    assert again is not None
    assert again.body == b"said"


class Overtaken(RedisReplays):
    """Its renewals are long on their way, and arrive whether or not anybody waits for them."""

    async def renew(self, name: Name, mine: Record) -> None:
        async def arriving() -> None:
            await asyncio.sleep(0.1)
            await super(Overtaken, self).renew(name, mine)

        await asyncio.shield(asyncio.create_task(arriving(), name="arriving"))


@pytest.mark.parametrize("kind", [RedisReplays, Overtaken])
async def test_what_runs_long_is_said_to_run_and_is_free_when_it_has_ended(
    client: Redis, monkeypatch: pytest.MonkeyPatch, kind: type[RedisReplays]
) -> None:
    monkeypatch.setattr(module, "RENEW_S", 0.02)
    keys = module.IdempotencyKeys(
        MemoryReplays(lambda: 0.0), kind(client, PATIENT_S), module.Retention()
    )
    draft = drafted(request_id="req_mine", caller=Caller(tenant="acme", key_id="k"))

    async def work() -> None:
        await client.pexpire(key_of(NAME), 5000)
        while await client.pttl(key_of(NAME)) <= 5000:  # noqa: ASYNC110  # it is another's to tell
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    keyed = keys.request({"idempotency-key": "a key"}, draft, "/v1/embeddings")
    await keyed.serve(Body.json(b"{}"), work)
    await keys.close()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "arriving"))

    assert await client.keys("*") == []


class Answered(MemoryReplays):
    """It has taken a key long before anybody hears of it."""

    async def claim(self, name: Name, mine: Record) -> Record | None:
        held = await super().claim(name, mine)
        await asyncio.sleep(60)
        return held


async def test_who_leaves_while_the_key_is_being_taken_leaves_it_free() -> None:
    store = Answered(lambda: 0.0)
    keys = module.IdempotencyKeys(store, None, module.Retention())
    draft = drafted(request_id="req_mine", caller=Caller(tenant="acme", key_id="k"))

    async def work() -> None:
        raise AssertionError("it is gone")

    keyed = keys.request({"idempotency-key": "a key"}, draft, "/v1/embeddings")
    asked = asyncio.create_task(keyed.serve(Body.json(b"{}"), work))
    while not store.count:  # noqa: ASYNC110  # it is another's to tell
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    await keys.close()

    assert asked.cancelled()
    assert store.count == 0
