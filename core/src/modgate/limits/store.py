"""What a shared store of levels does, whoever keeps it: this process, another one, or Redis.

A store is given the keys of one tenant at a time (they begin with `{tenant}`), and time as
`now_ms`: 0 is the store's own clock.  The rules are those of `levels.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from modgate.clock import Clock
from modgate.limits.levels import Denied, Levels, Limit, Wanted


class StoreDown(Exception):
    """The store did not answer: nothing is known of what it did."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What came of `reserve`: denied or not, and the levels now (unit x ms for buckets)."""

    denied: Denied | None
    levels: tuple[int, ...]


class Store(Protocol):
    """Levels that several gateways share.  Every method may raise StoreDown."""

    async def reserve(self, rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        """Charge all or none; the same `rid` again charges nothing more."""
        ...

    async def trim(self, rid: str, kept: Sequence[int], now_ms: int = 0) -> bool:
        """Give back what is charged above `kept`; False when the record is not open."""
        ...

    async def touch(self, rid: str, measured: Sequence[int], ttl_ms: int, now_ms: int = 0) -> bool:
        """Still alive, and so much was measured; False when it was reaped or settled."""
        ...

    async def settle(self, rid: str, actual: Sequence[int], now_ms: int = 0) -> bool:
        """Charge what it really was; False when it was settled before, or is unknown."""
        ...

    async def owe(self, rid: str, owed: Wanted, now_ms: int = 0) -> bool:
        """Charge (or give back) what was used without it; False when this `rid` was said before."""
        ...

    async def reap(self, tag: str, at_most: int = 100, now_ms: int = 0) -> int:
        """Close a tenant's records that were not touched in time, with what was measured last."""
        ...

    async def join(self, name: str, ttl_ms: int, now_ms: int = 0) -> int:
        """Say that this gateway lives; the answer is how many do."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...


class MemoryStore:
    """The store's face of levels in this process: what an owner serves, and what tests compare."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.levels = Levels()
        self._alive: dict[str, int] = {}

    def _now(self, now_ms: int) -> int:
        return now_ms or int(self._clock.wall() * 1000)

    async def reserve(self, rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        """See `Store`."""
        now_ms = self._now(now_ms)
        denied = self.levels.reserve(rid, wanted, now_ms, ttl_ms)
        return Reserved(denied, tuple(self.levels.level(limit, now_ms) for limit, _ in wanted))

    async def trim(self, rid: str, kept: Sequence[int], now_ms: int = 0) -> bool:
        """See `Store`."""
        return self.levels.trim(rid, kept, self._now(now_ms))

    async def touch(self, rid: str, measured: Sequence[int], ttl_ms: int, now_ms: int = 0) -> bool:
        """See `Store`."""
        return self.levels.touch(rid, measured, self._now(now_ms), ttl_ms)

    async def settle(self, rid: str, actual: Sequence[int], now_ms: int = 0) -> bool:
        """See `Store`."""
        return self.levels.settle(rid, actual, self._now(now_ms))

    async def reap(self, tag: str, at_most: int = 100, now_ms: int = 0) -> int:
        """See `Store`."""
        return self.levels.reap(self._now(now_ms), at_most, tag)

    async def owe(self, rid: str, owed: Wanted, now_ms: int = 0) -> bool:
        """See `Store`."""
        return self.levels.owe(rid, owed, self._now(now_ms))

    async def join(self, name: str, ttl_ms: int, now_ms: int = 0) -> int:
        """See `Store`."""
        now_ms = self._now(now_ms)
        self._alive = {each: ends for each, ends in self._alive.items() if ends > now_ms}
        self._alive[name] = now_ms + ttl_ms
        return len(self._alive)

    async def close(self) -> None:
        """Nothing to give back."""


def tag_of(limit: Limit) -> str:
    """The part of a key that says which tenant's it is: `{acme}`."""
    return limit.key[: limit.key.index("}") + 1]


def by_tag(wanted: Wanted) -> dict[str, list[tuple[Limit, int]]]:
    """What is wanted of each tenant's limits."""
    found: dict[str, list[tuple[Limit, int]]] = {}
    for limit, count in wanted:
        found.setdefault(tag_of(limit), []).append((limit, count))
    return found
