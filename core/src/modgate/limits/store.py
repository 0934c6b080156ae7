"""What a shared store of levels does, whoever keeps them: this process, another one, or Redis.

A store charges by records.  `rid`, which begins with the tenant's tag `{tenant}`, names a record,
and one call is about the limits of one tenant.  `now_ms` is epoch time, and 0 stands for the
store's own clock.  The rules of charging are those of `levels.py`.
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
    """The answer to `reserve`.

    `denied`: None when it was reserved.  `levels`: how full each limit is now, in unit x ms for
    buckets, in units for the others.
    """

    denied: Denied | None
    levels: tuple[int, ...]


class Store(Protocol):
    """Levels that several gateways share.  Every method may raise StoreDown.

    A record is open for `ttl_ms` after `reserve` or the last `touch`; after that it may be reaped.
    """

    async def reserve(self, rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        """Open a record: charge all or none.  The same `rid` again charges nothing more."""
        ...

    async def trim(self, rid: str, kept: Sequence[int], now_ms: int = 0) -> bool:
        """Give back what the record is charged above `kept`; False when it is not open."""
        ...

    async def touch(self, rid: str, measured: Sequence[int], ttl_ms: int, now_ms: int = 0) -> bool:
        """The record's requests live, and used so much; False when it was reaped or settled."""
        ...

    async def settle(self, rid: str, actual: Sequence[int], now_ms: int = 0) -> bool:
        """Charge what was really used, and close; False when it was settled, or is unknown."""
        ...

    async def owe(self, rid: str, owed: Wanted, now_ms: int = 0) -> bool:
        """Charge (or give back) what was used without the store; False for a `rid` said before."""
        ...

    async def reap(self, tag: str, at_most: int = 100, now_ms: int = 0) -> int:
        """Close a tenant's records that were not touched in time, for what was last measured.

        `tag`: the tenant's.  The answer is how many were closed, `at_most` in one call.
        """
        ...

    async def join(self, name: str, ttl_ms: int, now_ms: int = 0) -> int:
        """Say that a gateway lives, for `ttl_ms`; the answer is how many do."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...


class MemoryStore:
    """A store in this process: what an owner serves, and what tests compare others with."""

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
    """The part of a limit's key that says whose it is: `{acme}`."""
    return limit.key[: limit.key.index("}") + 1]


def by_tag(wanted: Wanted) -> dict[str, list[tuple[Limit, int]]]:
    """The same limits and counts, by their tenant's tag."""
    found: dict[str, list[tuple[Limit, int]]] = {}
    for limit, count in wanted:
        found.setdefault(tag_of(limit), []).append((limit, count))
    return found
