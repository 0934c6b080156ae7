"""Limits that hold over several gateways: slices here, the store behind them, and no store at all.

Reserving, settling and touching are synchronous; only what is not in hand here raises `Miss`, and
whoever wanted it awaits `fetch` and tries again.  A store that does not answer within the deadline
costs a request at most that; after five failures nobody waits for it any more.  Then each limit
does as it says (`when_down`): a share of it is kept here, or everything passes, or nothing does.
What was used meanwhile is owed to the store and told when it is back.

Source: algorithms.md 3.3, 3.4.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from modgate.limits.alone import Alone
from modgate.limits.breaker import Breaker
from modgate.limits.deadline import Deadline, still_wanted
from modgate.limits.levels import Denied, Limit, Wanted
from modgate.limits.lines import Line
from modgate.limits.slices import FRESH_MS, NEW_RECORD_MS, RECORD_MS, Asking, Due, Part, Slices
from modgate.limits.store import Reserved, Store, StoreDown, by_tag, tag_of

log = logging.getLogger(__name__)

DEADLINE_S = 0.025
TICK_S = 0.25
PROBE_MS = 2000
ALIVE_MS = 10_000
JOIN_MS = 1000
REAP_MS = 5000
TOLD_TOGETHER = 8

T = TypeVar("T")


class Miss(Exception):
    """Not enough is in hand here: await `Shared.fetch` with this, and try again."""

    def __init__(self, rid: Hashable, wanted: Wanted, lacking: Sequence[int]) -> None:
        super().__init__("a slice must be fetched")
        self.rid = rid
        self.lacking = [wanted[index] for index in lacking]
        self.keys = tuple(limit.key for limit, _ in self.lacking)


@dataclass(slots=True)
class Spent:
    """What a request holds of one limit; without a part it was admitted without the store."""

    limit: Limit
    count: int
    part: Part | None


@dataclass(eq=False)
class Shared:
    """The account of one gateway at a shared store.

    `now_ms` is epoch time that never jumps.  `replicas`: how many gateways share the limits at
    least; more are counted at the store.  `ahead_ms`: how far the wall clock, which the store's is
    like, is ahead of `now_ms`.
    """

    store: Store
    name: str
    now_ms: Callable[[], int]
    deadline_s: float = DEADLINE_S
    replicas: int = 1
    ahead_ms: Callable[[], int] = lambda: 0
    slices: Slices = field(init=False)
    breaker: Breaker = field(default_factory=Breaker)
    _alone: Alone = field(init=False)
    _taken: dict[Hashable, list[Spent]] = field(default_factory=dict)
    _crowded: set[Hashable] = field(default_factory=set)  # they found the store slow or crowded
    _lines: dict[tuple[str, ...], Line] = field(default_factory=dict)
    _trips: set[asyncio.Task[None]] = field(default_factory=set)  # one a line, and no more
    _asking: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _orphans: dict[str, int] = field(default_factory=dict)  # reservations of unknown fate
    _telling: dict[str, list[tuple[Limit, int]]] = field(default_factory=dict)
    _reaped: dict[str, int] = field(default_factory=dict)
    _told: int = 0
    _joined_ms: int = -JOIN_MS
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.slices = Slices(self.name)
        self._alone = Alone(self.slices)

    @property
    def down(self) -> bool:
        """Whether limits are kept without the store at the moment."""
        return self.breaker.open

    # --- what requests do, synchronously

    def reserve(self, rid: Hashable, wanted: Wanted, now_ms: int) -> Denied | None:
        """Charge all or none; None = reserved.  Miss when a slice must be fetched first."""
        if rid in self._taken:
            return None
        lacking = self.slices.lacking(wanted, now_ms)
        if lacking:
            if not self.breaker.open and rid not in self._crowded:
                if (denied := self.slices.denied(wanted, lacking, now_ms)) is not None:
                    return denied
                raise Miss(rid, wanted, lacking)
            self._crowded.discard(rid)
            if (denied := self._alone.reserve(str(rid), wanted, lacking, now_ms)) is not None:
                return denied
        held = [(limit, 0 if at in lacking else n) for at, (limit, n) in enumerate(wanted)]
        parts = self.slices.take(held, now_ms)
        self._taken[rid] = [
            Spent(limit, count, part) for (limit, count), part in zip(wanted, parts, strict=True)
        ]
        return None

    def touch(self, rid: Hashable, measured: Sequence[int]) -> None:
        """The request lives, and has used so much."""
        for spent, count in zip(self._taken.get(rid, ()), measured, strict=False):
            if spent.part is not None and spent.limit.kind != "c":
                self.slices.measure(spent.part, count)

    def settle(self, rid: Hashable, wanted: Wanted, actual: Sequence[int], now_ms: int) -> None:
        """The request ended, and used so much; once."""
        del wanted
        self._crowded.discard(rid)
        taken = self._taken.pop(rid, None)
        if taken is None:
            return
        without = [at for at, spent in enumerate(taken) if spent.part is None and spent.count]
        if without:
            held = [(taken[at].limit, taken[at].count) for at in without]
            self._alone.settle(str(rid), held, [actual[at] for at in without], now_ms)
        for spent, count in zip(taken, actual, strict=True):
            if spent.part is not None:
                self.slices.end(spent.part, count)

    def charge(self, limit: Limit, count: int, now_ms: int) -> None:
        """Charge without a reservation, whatever is left."""
        del now_ms
        self._alone.owe(limit, count)

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until so many would be admitted, as far as it is known here; 0 = now."""
        share = self.slices.share(limit, now_ms)
        if share.source(count, now_ms) is not None:
            return 0
        if self.down:
            return self._alone.wait_ms(limit, count, now_ms)
        return share.wait_ms(count, now_ms)

    def look(self, limits: Sequence[Limit], now_ms: int) -> None:
        """Miss when the levels were not heard of for a second."""
        old = [
            limit
            for limit in limits
            if now_ms - self.slices.share(limit, now_ms).known_ms > FRESH_MS
        ]
        if old and not self.breaker.open and (rid := f"{tag_of(old[0])}look") not in self._crowded:
            raise Miss(rid, [(limit, 0) for limit in old], range(len(old)))
        self._crowded.difference_update(f"{tag_of(limit)}look" for limit in old)

    def level(self, limit: Limit, now_ms: int) -> int:
        """The level as far as it is known here."""
        if self.down:
            return self._alone.level(limit, now_ms)
        return self.slices.share(limit, now_ms).level_now(now_ms)

    # --- the store

    async def fetch(self, miss: Miss) -> None:
        """Get what was missing, or find that the store does not answer in time."""
        breaker = self.breaker
        if breaker.crowded:
            self._crowded.add(miss.rid)
            return
        line = self._lines.get(miss.keys)
        if line is None:
            line = self._lines[miss.keys] = Line(miss.lacking)
            trip = asyncio.get_running_loop().create_task(self._trip(miss.keys, line))
            self._trips.add(trip)
            trip.add_done_callback(partial(self._over, miss.keys, line))
        line.join(miss.lacking)
        breaker.waits += 1
        breaker.waiting += 1
        try:
            await asyncio.wait([line.over])
        finally:
            breaker.waiting -= 1
        if line.failed:
            self._crowded.add(miss.rid)

    async def _trip(self, keys: tuple[str, ...], line: Line) -> None:
        """Ask for what all in line need; where others ask for a part of it, they may have it."""
        deadline = Deadline(self.deadline_s)
        try:
            async with deadline:
                if others := {self._asking[key] for key in keys if key in self._asking}:
                    await asyncio.wait(others)
                    return
                del self._lines[keys]
                tag = tag_of(line.least[0][0])
                for asking in self.slices.asking(line.least, line.wanted, tag, self.now_ms()):
                    await self._ask(asking)
            still_wanted()
        except (TimeoutError, StoreDown) as error:
            still_wanted()
            line.failed = True
            for _ in range(line.length):
                self._failed(error, deadline)
        except Exception:  # the border of a trip: whoever waits goes on without the store
            log.exception("limit store broke")
            line.failed = True
            self.breaker.failed("broke")

    def _over(self, keys: tuple[str, ...], line: Line, trip: asyncio.Task[None]) -> None:
        """Also of one that was cancelled before it began."""
        self._trips.discard(trip)
        if self._lines.get(keys) is line:
            del self._lines[keys]
        line.failed = line.failed or trip.cancelled()
        line.over.set_result(None)

    async def _ask(self, asking: Asking) -> None:
        done = asyncio.get_running_loop().create_future()
        keys = [limit.key for limit, _ in asking.wanted]
        self._asking.update(dict.fromkeys(keys, done))
        try:
            await self._reserved(asking, asking.wanted)
            await self._returned(asking)
        except BaseException:
            self._orphans[asking.rid] = len(keys)
            raise
        finally:
            for key in keys:
                self._asking.pop(key, None)
            done.set_result(None)

    async def _reserved(self, asking: Asking, wanted: Wanted) -> None:
        said: Reserved = await self.store.reserve(asking.rid, self._there(wanted), NEW_RECORD_MS)
        self.breaker.answered()
        again = self.slices.reserved(asking, wanted, said, self.now_ms())
        if again is not None:
            await self._reserved(asking, again)

    async def _returned(self, asking: Asking) -> None:
        """Nobody is denied what ended here did not need: it is given back, and asked for again."""
        back = self.slices.unneeded(asking, self.now_ms())
        for due in back:
            await self.store.settle(due.slice.rid, due.counts)
            self.slices.done(due, self.now_ms())
        if back:
            await self._reserved(asking, asking.wanted)

    # --- behind the requests' backs

    def start(self) -> None:
        """Begin to tell the store what it is owed."""
        self._alone.alive = max(self._alone.alive, self.replicas)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception:  # the border of a background concern
                log.exception("limit store not told")

    async def tick(self) -> None:
        """Tell the store what it is owed; ask whether it lives when it did not."""
        now_ms = self.now_ms()
        try:
            every = PROBE_MS if self.breaker.open else JOIN_MS
            if now_ms - self._joined_ms >= every:
                self._joined_ms = now_ms
                alive = await self._call(self.store.join(self.name, ALIVE_MS))
                self._alone.alive = max(alive, self.replicas)
            if not self.breaker.open:
                await self._tell_all(now_ms)
        except (TimeoutError, StoreDown):
            return  # counted by the breaker, which says it once
        self.slices.prune(now_ms)

    async def _call(self, asked: Awaitable[T]) -> T:
        deadline = Deadline(self.deadline_s)
        try:
            async with deadline:
                answer = await asked
            still_wanted()
        except (TimeoutError, StoreDown) as error:
            still_wanted()
            self._failed(error, deadline)
            raise
        self.breaker.answered()
        return answer

    def _failed(self, error: Exception, deadline: Deadline) -> None:
        if isinstance(error, StoreDown) or not deadline.late:
            self.breaker.failed(str(error) or type(error).__name__)

    async def _tell_all(self, now_ms: int) -> None:
        places = asyncio.Semaphore(TOLD_TOGETHER)

        async def tell(due: Due) -> None:
            async with places:
                await self._tell(due)

        told = await asyncio.gather(
            *(tell(due) for due in self.slices.due(now_ms)), return_exceptions=True
        )
        for error in told:
            if error is not None:
                raise error
        for rid, limits in list(self._orphans.items()):
            await self._call(self.store.settle(rid, [0] * limits))
            self._orphans.pop(rid, None)
        await self._tell_owed()
        await self._reap(now_ms)

    async def _tell(self, due: Due) -> None:
        held, counts = due.slice, due.counts
        if due.operation == "settle":
            await self._call(self.store.settle(held.rid, counts))
        elif due.operation == "trim":
            await self._call(self.store.trim(held.rid, counts))
        else:
            await self._call(self.store.touch(held.rid, counts, RECORD_MS))
        self.slices.done(due, self.now_ms())

    async def _tell_owed(self) -> None:
        heard: dict[str, int] = {}
        for tag, limits in by_tag([(limit, 0) for limit in self._alone.kept]).items():
            asked = self.store.reserve(self._rid(tag, "asked"), self._there(limits), NEW_RECORD_MS)
            said = await self._call(asked)
            heard.update(zip((limit.key for limit, _ in limits), said.levels, strict=True))
        for tag, owed in by_tag(self._alone.due(heard, self.now_ms())).items():
            self._telling[self._rid(tag, "owed")] = owed
        for rid, owed in list(self._telling.items()):
            await self._call(self.store.owe(rid, self._there(owed)))
            self._telling.pop(rid, None)

    def _there(self, wanted: Wanted) -> Wanted:
        """The same for the store, which forgets a window by its own clock."""
        ahead_ms = self.ahead_ms()
        if not ahead_ms:
            return wanted
        return [
            (
                replace(limit, period_ms=limit.period_ms + ahead_ms)
                if limit.kind == "w"
                else limit,
                n,
            )
            for limit, n in wanted
        ]

    def _rid(self, tag: str, what: str) -> str:
        self._told += 1
        return f"{tag}{self.name}-{what}-{self._told}"

    async def _reap(self, now_ms: int) -> None:
        """Whoever uses a tenant's limits closes what dead gateways left of them."""
        tags = {tag_of(share.limit) for share in list(self.slices.shares.values())}
        for tag in tags:
            if now_ms - self._reaped.get(tag, -REAP_MS) >= REAP_MS:
                self._reaped[tag] = now_ms
                await self._call(self.store.reap(tag))
        for tag in [tag for tag in self._reaped if tag not in tags]:
            del self._reaped[tag]

    async def close(self) -> None:
        """Give back what is in hand, as far as the store answers."""
        own = [*self._trips, *([self._task] if self._task is not None else [])]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)
        later = self.now_ms() + RECORD_MS
        try:
            await self._tell_all(later)
        except (TimeoutError, StoreDown):
            log.warning("limit store not told at the end")  # what is open there will be reaped
        await self.store.close()
