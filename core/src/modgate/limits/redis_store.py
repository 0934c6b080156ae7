"""Levels in Redis or Valkey, which a script on the server charges (quota.lua).

So a call is one round trip, and it happens whole or not at all.  All keys of a tenant carry its
`{tag}`, which puts them into one slot of a cluster.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.limits.levels import Denied, Wanted
from modgate.limits.store import Reserved, StoreDown
from modgate.tracebacks import reason_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)

PREFIX = "modgate:"
KEEPS = "noeviction"
SCRIPT = files("modgate.limits").joinpath("quota.lua").read_text()
CONNECTIONS_AT_MOST = 32


class MissingRedis(Exception):
    """The extra `redis` is not installed."""


class RedisStore:
    """A store at `url` (`redis://`, `rediss://` or `unix://`).

    MissingRedis without the extra, ValueError for another kind of address.  `client`: for others
    who keep something on the same server.
    """

    def __init__(self, url: str, password: Secret | None = None) -> None:
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise MissingRedis("a store in Redis needs modgate[redis]") from None
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_AT_MOST,
            retry=Retry(NoBackoff(), 0),
            password=password.reveal() if password is not None else None,
        )
        self.client: Redis = Redis.from_pool(pool)
        self._looked = False
        self._script = self.client.register_script(SCRIPT)

    async def _call(self, keys: Sequence[str], args: Sequence[str | int]) -> Json:
        from redis.exceptions import RedisError

        called: Awaitable[Json] = self._script(keys=[PREFIX + key for key in keys], args=args)
        try:
            return await called
        except (RedisError, OSError) as error:
            raise StoreDown(reason_of(error)) from None

    async def reserve(self, rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        """See `Store`."""
        keys, args = _limits(rid, wanted)
        wait_ms, worst, levels = await self._call(keys, ["reserve", now_ms, ttl_ms, *args])
        denied = Denied(wait_ms, worst - 1) if wait_ms else None
        return Reserved(denied, tuple(int(level) for level in levels))

    async def trim(self, rid: str, kept: Sequence[int], now_ms: int = 0) -> bool:
        """See `Store`."""
        return bool(await self._call(_record(rid), ["trim", now_ms, 0, *kept]))

    async def touch(self, rid: str, measured: Sequence[int], ttl_ms: int, now_ms: int = 0) -> bool:
        """See `Store`."""
        return bool(await self._call(_record(rid), ["touch", now_ms, ttl_ms, *measured]))

    async def settle(self, rid: str, actual: Sequence[int], now_ms: int = 0) -> bool:
        """See `Store`."""
        return bool(await self._call(_record(rid), ["settle", now_ms, 0, *actual]))

    async def owe(self, rid: str, owed: Wanted, now_ms: int = 0) -> bool:
        """See `Store`."""
        keys, args = _limits(rid, owed)
        return bool(await self._call(keys, ["owe", now_ms, 0, *args]))

    async def reap(self, tag: str, at_most: int = 100, now_ms: int = 0) -> int:
        """See `Store`."""
        reaped: int = await self._call(_record(f"{tag}none"), ["reap", now_ms, at_most])
        return reaped

    async def join(self, name: str, ttl_ms: int, now_ms: int = 0) -> int:
        """See `Store`."""
        alive: int = await self._call(["alive"], ["join", now_ms, ttl_ms, name])
        if not self._looked:
            self._looked = True
            await self._look()
        return alive

    async def _look(self) -> None:
        """Warn when the server throws keys away once it is full.

        A server that does not let us ask is used all the same.
        """
        from redis.exceptions import RedisError

        try:
            said = await self.client.info("memory")
        except (RedisError, OSError):
            return
        policy = said.get("maxmemory_policy", KEEPS)
        if said.get("maxmemory") and policy != KEEPS:
            log.warning("limit store may forget", extra={"policy": policy})

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def _record(rid: str) -> tuple[str, str]:
    """The keys of a record and of the list of its tenant's records; `rid` begins with the tag."""
    tag = rid[: rid.index("}") + 1]
    return f"{tag}:record:{rid[len(tag) :]}", f"{tag}:records"


def _limits(rid: str, wanted: Wanted) -> tuple[list[str], list[str | int]]:
    keys = [*_record(rid), *(limit.key for limit, _ in wanted)]
    args: list[str | int] = []
    for limit, count in wanted:
        args += (limit.kind, limit.amount, limit.period_ms, limit.burst, count)
    return keys, args
