"""One conformance test over the three stores: each against the levels in this process.

Seeded operations with clocks that go back, duplicates, trims and reaping; as many as
`MODGATE_OPERATIONS` says.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from servers import redis

from modgate.clock import SystemClock
from modgate.limits.levels import Levels, Limit
from modgate.limits.owner import Owner, OwnerStore
from modgate.limits.redis_store import RedisStore
from modgate.limits.store import MemoryStore, Store

TTL_MS = 30_000
OPERATIONS = int(os.environ.get("MODGATE_OPERATIONS", "3000"))


def limits(tag: str, now_ms: int) -> tuple[Limit, ...]:
    return (
        Limit(key=f"{tag}:b1", kind="b", amount=20, period_ms=1_000, burst=20),
        Limit(key=f"{tag}:b2", kind="b", amount=700, period_ms=60_000, burst=700),
        Limit(key=f"{tag}:b3", kind="b", amount=7, period_ms=3_600_000, burst=9),
        Limit(key=f"{tag}:b4", kind="b", amount=150_000_000, period_ms=60_000, burst=150_000_000),
        Limit(key=f"{tag}:w1", kind="w", amount=900, period_ms=now_ms + 400_000),
        Limit(key=f"{tag}:w2", kind="w", amount=100_000, period_ms=now_ms + 2_000_000),
        Limit(key=f"{tag}:c1", kind="c", amount=5),
    )


class Pair:
    """A store and the levels in memory, driven by one seed."""

    def __init__(self, store: Store, seed: int, now_ms: int) -> None:
        self.random = random.Random(seed)
        self.store, self.levels = store, Levels()
        self.tag = f"{{t{seed}}}"
        self.now, self.began = now_ms, now_ms
        self.limits = limits(self.tag, now_ms)
        self.made: dict[str, int] = {}
        self.seen: set[str] = set()

    def numbers(self, rid: str) -> list[int]:
        return [self.random.randrange(60) for _ in range(self.made.get(rid, 1))]

    def rid(self) -> str:
        recent = list(self.made)[-30:]
        return self.random.choice(recent) if recent else f"{self.tag}nobody"

    async def step(self, index: int) -> None:
        gap = self.random.choice((0, 0, 1, 7, 40, 300))
        back = self.random.random() > 0.95
        behind = 30_000 if self.random.random() > 0.98 else 500  # set back, or late
        self.now = max(self.began, self.now + (-self.random.randrange(behind) if back else gap))
        kind = self.random.choices(
            ("reserve", "again", "trim", "settle", "touch", "owe", "reap"), (6, 1, 1, 4, 2, 1, 1)
        )[0]
        same = await getattr(self, kind)(index)
        assert same, (index, kind)

    async def reserve(self, index: int) -> bool:
        chosen = self.random.sample(self.limits, self.random.randrange(1, len(self.limits)))
        wanted = [
            (limit, 1 if limit.kind == "c" else self.random.randrange(limit.amount // 6 + 2))
            for limit in chosen
        ]
        rid = f"{self.tag}r{index}"
        denied = self.levels.reserve(rid, wanted, self.now, TTL_MS)
        said = await self.store.reserve(rid, wanted, TTL_MS, self.now)
        self.seen.add("denied" if denied else "granted")
        if denied is None:
            self.made[rid] = len(chosen)
        levels = tuple(self.levels.level(limit, self.now) for limit in chosen)
        return said.denied == denied and said.levels == levels

    async def again(self, index: int) -> bool:
        del index
        rid = self.rid()
        if rid not in self.made:
            return True
        wanted = [(self.limits[0], 1)]
        assert self.levels.reserve(rid, wanted, self.now, TTL_MS) is None
        self.seen.add("again")
        return (await self.store.reserve(rid, wanted, TTL_MS, self.now)).denied is None

    async def trim(self, index: int) -> bool:
        del index
        rid = self.rid()
        kept = self.numbers(rid)
        self.seen.add("trim")
        return self.levels.trim(rid, kept, self.now) == await self.store.trim(rid, kept, self.now)

    async def settle(self, index: int) -> bool:
        del index
        rid = self.rid()
        actual = self.numbers(rid)
        done = self.levels.settle(rid, actual, self.now)
        self.seen.add("settled" if done else "settled before")
        return done == await self.store.settle(rid, actual, self.now)

    async def touch(self, index: int) -> bool:
        del index
        rid = self.rid()
        measured = self.numbers(rid)
        touched = self.levels.touch(rid, measured, self.now, TTL_MS)
        self.seen.add("touched" if touched else "too late")
        return touched == await self.store.touch(rid, measured, TTL_MS, self.now)

    async def owe(self, index: int) -> bool:
        rid = f"{self.tag}o{index - index % 3}"  # the same again, now and then
        owed = [(limit, self.random.randrange(-20, 40)) for limit in self.limits[:5]]
        said = self.levels.owe(rid, owed, self.now)
        self.seen.add("owed" if said else "owed before")
        return said == await self.store.owe(rid, owed, self.now)

    async def reap(self, index: int) -> bool:
        del index
        at_most = self.random.choice((1, 3, 100))
        reaped = self.levels.reap(self.now, at_most, self.tag)
        self.seen.add("reaped" if reaped else "nothing to reap")
        return reaped == await self.store.reap(self.tag, at_most, self.now)


@asynccontextmanager
async def _memory(folder: Path) -> AsyncIterator[Store]:
    del folder
    yield MemoryStore(SystemClock())


@asynccontextmanager
async def _owner(folder: Path) -> AsyncIterator[Store]:
    owner, store = Owner(SystemClock()), OwnerStore(folder / "levels.sock")
    await owner.open(folder / "levels.sock")
    try:
        yield store
    finally:
        await store.close()
        await owner.close()


@asynccontextmanager
async def _redis(folder: Path) -> AsyncIterator[Store]:
    with redis(folder) as server:
        store = RedisStore(server.url)
        try:
            yield store
        finally:
            await store.close()


STORES = {"memory": _memory, "owner": _owner, "redis": _redis}


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORES)
async def test_the_stores_agree_operation_by_operation(kind: str, tmp_path: Path) -> None:
    now_ms = int(SystemClock.wall() * 1000)
    async with STORES[kind](tmp_path) as store:
        pair = Pair(store, 1, now_ms)
        for index in range(OPERATIONS):
            await pair.step(index)

    assert pair.seen >= {"granted", "denied", "again", "trim", "settled", "settled before"}
    assert pair.seen >= {"touched", "too late", "reaped", "nothing to reap", "owed"}


@pytest.mark.parametrize("kind", STORES)
async def test_who_is_alive_is_counted_for_as_long_as_it_says_so(kind: str, tmp_path: Path) -> None:
    async with STORES[kind](tmp_path) as store:
        at = int(SystemClock.wall() * 1000)

        assert await store.join("one", 1000, at) == 1
        assert await store.join("two", 5000, at) == 2
        assert await store.join("two", 5000, at + 1500) == 1
