"""Accounts of several gateways at one store of limits, step by step in a time that a test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from modgate.config.schema import LimitStoreSection
from modgate.limits.levels import Denied, Limit, Wanted, WhenDown
from modgate.limits.shared import Miss, SharedAccount
from modgate.limits.store import MemoryStore, Reserved
from modgate.limits.store_link import StoreLink

BEGAN_MS = 1_767_268_800_000
STEP_MS = 10
DEADLINE_S = LimitStoreSection(url="redis://store:6379").deadline  # where no file says another


@dataclass
class Clock:
    """A time that the test moves."""

    ms: int = BEGAN_MS

    def now(self) -> float:
        return self.ms / 1000

    wall = now

    def now_ms(self) -> int:
        return self.ms


class Pausable(MemoryStore):
    """A store that can stop answering."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.paused = False
        self.trips = 0
        self.away_s = 0.0

    async def reserve(self, rid: str, wanted: Wanted, ttl_ms: int, now_ms: int = 0) -> Reserved:
        self.trips += 1
        if self.paused:
            await asyncio.sleep(60)
        if not self.away_s:
            return await super().reserve(rid, wanted, ttl_ms, now_ms)
        await asyncio.sleep(self.away_s / 2)
        said = await super().reserve(rid, wanted, ttl_ms, now_ms)
        await asyncio.sleep(self.away_s / 2)
        return said

    async def owe(self, rid: str, owed: Wanted, now_ms: int = 0) -> bool:
        if self.paused:
            await asyncio.sleep(60)
        return await super().owe(rid, owed, now_ms)

    async def join(self, name: str, ttl_ms: int, now_ms: int = 0) -> int:
        if self.paused:
            await asyncio.sleep(60)
        return await super().join(name, ttl_ms, now_ms)


@dataclass
class Fleet:
    """Gateways at one store, driven step by step."""

    gateways: int = 3
    deadline_s: float = DEADLINE_S
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.store = Pausable(self.clock)
        self.accounts = [
            SharedAccount(StoreLink(self.store, self.deadline_s), f"g{n}", self.clock.now_ms)
            for n in range(self.gateways)
        ]
        self.made = 0
        self.admitted: list[tuple[int, int]] = []  # when, how much

    def apart(self) -> list[Pausable]:
        """Each gateway may lose the store by itself."""
        stores = [Pausable(self.clock) for _ in self.accounts]
        for store, account in zip(stores, self.accounts, strict=True):
            store.levels = self.store.levels
            account.link.store = store
        return stores

    def over_a_network(self) -> Fleet:
        """The store answers in a millisecond, not at once."""
        self.store.away_s = 0.001
        return self

    async def ticked(self) -> None:
        for account in self.accounts:
            await account.tick()

    async def ask(self, account: SharedAccount, wanted: Wanted, rid: str = "") -> Denied | str:
        """As the pipeline does: try, fetch what was missing, try again."""
        self.made += 1
        rid = rid or f"r{self.made}"
        while True:
            try:
                denied = account.reserve(rid, wanted, self.clock.ms)
            except Miss as miss:
                await account.fetch(miss)
            else:
                return denied or rid

    async def load(
        self, seconds: float, limits: Sequence[Limit], per_step: float, size: int = 1
    ) -> None:
        """Requests at an even pace, spread over the gateways; each ends a moment later."""
        rng = random.Random(7)
        left = 0.0
        for step in range(int(seconds * 1000 / STEP_MS)):
            self.clock.ms += STEP_MS
            left += per_step
            while left >= 1:
                left -= 1
                account = rng.choice(self.accounts)
                wanted = [(limit, size) for limit in limits]
                said = await self.ask(account, wanted)
                if isinstance(said, str):
                    self.admitted.append((self.clock.ms, size))
                    account.settle(said, wanted, [size] * len(limits), self.clock.ms)
            if step % 25 == 0:
                await self.ticked()

    def most_in(self, window_ms: int) -> int:
        """The most that was admitted in any window of this length."""
        best = total = start = 0
        for at, size in self.admitted:
            total += size
            while self.admitted[start][0] <= at - window_ms:
                total -= self.admitted[start][1]
                start += 1
            best = max(best, total)
        return best


def bucket(
    amount: int, period_ms: int = 1000, name: str = "b", when_down: WhenDown = "local_share"
) -> Limit:
    return Limit(
        key=f"{{acme}}:{name}",
        kind="b",
        amount=amount,
        period_ms=period_ms,
        burst=amount,
        when_down=when_down,
    )
