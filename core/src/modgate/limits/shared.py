"""The account of a gateway that shares its limits with others, at a store that all of them reach.

Requests are charged synchronously, of slices that were reserved at the store before (slices.py).
What is not in hand raises `Miss`; whoever wanted it awaits `fetch` and tries again.

A store that does not answer within the deadline costs a request that much and no more; after five
failures nobody waits for it.  Then each limit does what its `when_down` says: a share of it is kept
here (local_shares.py), or everything passes, or nothing does.  What was used meanwhile is owed to
the store, and told when it is back (store_reporter.py).

Source: algorithms.md 3.3, 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from modgate.limits.levels import Denied, Limit, Wanted
from modgate.limits.local_shares import LocalShares
from modgate.limits.slice_fetcher import SliceFetcher
from modgate.limits.slices import FRESH_MS, SlicePart, Slices
from modgate.limits.store import tag_of
from modgate.limits.store_link import StoreLink
from modgate.limits.store_reporter import StoreReporter


class Miss(Exception):
    """Not enough is in hand here: await `SharedAccount.fetch` with this, and try again.

    `lacking`: of each limit that is short, how much the request wants.
    """

    def __init__(self, rid: Hashable, wanted: Wanted, lacking: Sequence[int]) -> None:
        super().__init__("a slice must be fetched")
        self.rid = rid
        self.lacking = [wanted[index] for index in lacking]


@dataclass(slots=True)
class Spent:
    """What a request holds of one limit.  `part`: None when it was admitted without the store."""

    limit: Limit
    count: int
    part: SlicePart | None


class SharedAccount:
    """One gateway's account at a shared store; an `Account`.

    `name`: makes record ids that no other gateway makes.
    `now_ms`: epoch time that never jumps.
    `replicas`: how many gateways share the limits at least; more are counted at the store.
    """

    def __init__(
        self, link: StoreLink, name: str, now_ms: Callable[[], int], *, replicas: int = 1
    ) -> None:
        self.link = link
        self.breaker = link.breaker
        self.slices = slices = Slices(name)
        self._local = local = LocalShares(slices)
        self._spent: dict[Hashable, list[Spent]] = {}
        self._unfetched: set[Hashable] = set()  # whose fetch failed: admitted without the store
        self._fetcher = SliceFetcher(link, slices, now_ms)
        self._reporter = StoreReporter(
            link, slices, local, self._fetcher.orphans, name=name, replicas=replicas, now_ms=now_ms
        )

    @property
    def down(self) -> bool:
        """Whether limits are kept without the store at the moment."""
        return self.breaker.open

    def reserve(self, rid: Hashable, wanted: Wanted, now_ms: int) -> Denied | None:
        """Charge all or none; None = reserved.  Miss when a slice must be fetched first."""
        if rid in self._spent:
            return None
        lacking = self.slices.lacking(wanted, now_ms)
        if lacking:
            if not self.breaker.open and rid not in self._unfetched:
                if (denied := self.slices.denied(wanted, lacking, now_ms)) is not None:
                    return denied
                raise Miss(rid, wanted, lacking)
            self._unfetched.discard(rid)
            if (denied := self._local.reserve(str(rid), wanted, lacking, now_ms)) is not None:
                return denied
        parts = self.slices.take(wanted, now_ms)
        self._spent[rid] = [
            Spent(limit, count, part) for (limit, count), part in zip(wanted, parts, strict=True)
        ]
        return None

    def touch(self, rid: Hashable, measured: Sequence[int]) -> None:
        """The request lives, and has used so much of each limit."""
        for spent, count in zip(self._spent.get(rid, ()), measured, strict=False):
            if spent.part is not None and spent.limit.kind != "c":
                self.slices.measure(spent.part, count)

    def settle(self, rid: Hashable, wanted: Wanted, actual: Sequence[int], now_ms: int) -> None:
        """The request ended, and used so much of each limit; a second time does nothing."""
        del wanted
        self._unfetched.discard(rid)
        ended = self._spent.pop(rid, None)
        if ended is None:
            return
        without = [at for at, spent in enumerate(ended) if spent.part is None and spent.count]
        if without:
            held = [(ended[at].limit, ended[at].count) for at in without]
            self._local.settle(str(rid), held, [actual[at] for at in without], now_ms)
        for spent, count in zip(ended, actual, strict=True):
            if spent.part is not None:
                self.slices.end(spent.part, count)

    def charge(self, limit: Limit, count: int, now_ms: int) -> None:
        """Charge without a reservation, whatever is left; the store is told of it later."""
        del now_ms
        self._local.owe(limit, count)

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until so many would be admitted, as far as it is known here; 0 = now."""
        share = self.slices.share(limit, now_ms)
        if share.source(count, now_ms) is not None:
            return 0
        if self.down:
            return self._local.wait_ms(limit, count, now_ms)
        return share.wait_ms(count, now_ms)

    def look(self, limits: Sequence[Limit], now_ms: int) -> None:
        """Miss when the store did not say for a second how full a limit is."""
        old = [
            limit
            for limit in limits
            if now_ms - self.slices.share(limit, now_ms).known_ms > FRESH_MS
        ]
        if old and not self.breaker.open and (rid := _look_rid(old[0])) not in self._unfetched:
            raise Miss(rid, [(limit, 0) for limit in old], range(len(old)))
        self._unfetched.difference_update(_look_rid(limit) for limit in old)

    def level(self, limit: Limit, now_ms: int) -> int:
        """The level as far as it is known here; unit x ms for buckets, units for the others."""
        if self.down:
            return self._local.level(limit, now_ms)
        return self.slices.share(limit, now_ms).level_now(now_ms)

    async def fetch(self, miss: Miss) -> None:
        """Get what was missing; or else the next try goes on without the store."""
        if not await self._fetcher.fetch(miss.lacking):
            self._unfetched.add(miss.rid)

    def start(self) -> None:
        """Begin to tell the store what it is owed."""
        self._reporter.start()

    async def tick(self) -> None:
        """Tell the store now what it is owed, as `start` makes it happen every quarter second."""
        await self._reporter.tick()

    async def close(self) -> None:
        """Give back what is in hand, as far as the store answers."""
        await self._fetcher.close()
        await self._reporter.close()
        await self.link.store.close()


def _look_rid(limit: Limit) -> str:
    """What stands for a request id where a tenant's levels are only looked at."""
    return f"{tag_of(limit)}look"
