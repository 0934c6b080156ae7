"""Records in Redis (or Valkey), for gateways that share a store: each step is one round trip.

What is done goes when its time is over, and what runs when its gateway has not said for a while
that it does.  A tenant's keys carry its `{tag}`, as those of its limits do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from modgate.api.json import Json
from modgate.replays.record import Record, read
from modgate.replays.store import LEASE_S, Name, ReplaysDown

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX = "modgate:once:"

SCRIPT = """
local held = redis.call('GET', KEYS[1])
if ARGV[1] == 'claim' then
  if not held then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
  return held
end
if held and held ~= ARGV[2] then return false end
if ARGV[1] == 'keep' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3]) end
if ARGV[1] == 'free' then redis.call('DEL', KEYS[1]) end
if ARGV[1] == 'renew' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return false
"""


class RedisReplays:
    """Records behind a client that somebody else closes.

    `deadline_s`: of every step.  `region`: where it stands.
    """

    def __init__(self, client: Redis, deadline_s: float, region: str = "") -> None:
        self._client = client
        self.region = region
        self._script = client.register_script(SCRIPT)
        self._deadline_s = deadline_s

    async def _step(self, op: str, name: Name, mine: Record, keep_s: float, *more: bytes) -> Json:
        args: list[str | bytes | int] = [op, mine.write(), max(1, round(keep_s * 1000)), *more]
        called: Awaitable[Json] = self._script(keys=[key_of(name)], args=args)
        return await self._timely(called)

    async def _timely(self, called: Awaitable[Json]) -> Json:
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(self._deadline_s):
                return await called
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            raise ReplaysDown(type(error).__name__) from None

    async def find(self, name: Name) -> Record | None:
        """See `Replays`."""
        held = await self._timely(self._client.get(key_of(name)))
        return read(held) if held is not None else None

    async def claim(self, name: Name, mine: Record) -> Record | None:
        """See `Replays`."""
        held = await self._step("claim", name, mine, LEASE_S)
        return read(held) if held is not None else None

    async def keep(self, name: Name, mine: Record, done: Record, keep_s: float) -> None:
        """See `Replays`."""
        await self._step("keep", name, mine, keep_s, done.write())

    async def free(self, name: Name, mine: Record) -> None:
        """See `Replays`."""
        await self._step("free", name, mine, 0)

    async def renew(self, name: Name, mine: Record) -> None:
        """See `Replays`."""
        await self._step("renew", name, mine, LEASE_S)


def key_of(name: Name) -> str:
    """Where a record lies."""
    return f"{PREFIX}{{{name.tenant}}}:{name.key}"
