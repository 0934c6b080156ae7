"""A Redis that throws keys away when it is full refills limits: the log says so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from servers import redis

from modgate.limits.redis_store import RedisStore

FULL = {"maxmemory": "64mb"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**FULL, "maxmemory-policy": "allkeys-lru"}, ["allkeys-lru"]),
        ({**FULL, "maxmemory-policy": "volatile-ttl"}, ["volatile-ttl"]),
        ({**FULL, "maxmemory-policy": "noeviction"}, []),
        ({"maxmemory-policy": "allkeys-lru"}, []),
    ],
)
async def test_a_store_that_may_forget_is_told_once(
    settings: dict[str, str], told: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis(tmp_path) as server, caplog.at_level(logging.WARNING):
        store = RedisStore(server.url)
        try:
            for name, value in settings.items():
                await store.client.config_set(name, value)
            alive = [await store.join("one", 30_000) for _ in range(2)]
        finally:
            await store.close()
    said = [each for each in caplog.records if each.message == "limit store may forget"]

    assert alive == [1, 1]
    assert [each.__dict__["policy"] for each in said] == told


async def test_a_store_that_may_not_be_asked_is_used_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis(tmp_path) as server:
        admin = RedisStore(server.url)
        rules = ("on", ">secret", "~*", "+@all", "-info")
        await admin.client.execute_command("ACL", "SETUSER", "gateway", *rules)
        store = RedisStore(server.url.replace("unix://", "unix://gateway:secret@"))
        try:
            assert await store.join("one", 30_000) == 1
        finally:
            await store.close()
            await admin.close()

    assert caplog.records == []
