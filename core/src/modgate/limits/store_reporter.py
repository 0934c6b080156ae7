"""Telling the shared store of limits what became of its slices, behind the requests' backs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from modgate import tasks
from modgate.limits.levels import Limit
from modgate.limits.local_shares import LocalShares
from modgate.limits.slices import NEW_RECORD_MS, RECORD_MS, SliceDue, Slices
from modgate.limits.store import StoreDown, by_tag, tag_of
from modgate.limits.store_link import StoreLink

log = logging.getLogger(__name__)

TICK_S = 0.25
PROBE_MS = 2000
ALIVE_MS = 10_000
JOIN_MS = 1000
REAP_MS = 5000
TOLD_TOGETHER = 8


@dataclass(slots=True, eq=False)
class StoreReporter:
    """Reports for one gateway, four times a second while the store answers.

    It says that the gateway lives, settles and touches slices, tells what was used while the store
    did not answer, and closes what dead gateways left open.

    `name`: of this gateway.  `replicas`: how many gateways share the limits at least.
    `orphans`: see `SliceFetcher`; an entry goes when the store was told.
    """

    link: StoreLink
    slices: Slices
    local: LocalShares
    orphans: dict[str, int]
    name: str
    replicas: int
    now_ms: Callable[[], int]
    _unsaid: dict[str, list[tuple[Limit, int]]] = field(default_factory=dict)  # owed, by report id
    _reaped: dict[str, int] = field(default_factory=dict)  # when, by tenant's tag
    _reports: int = 0
    _joined_ms: int = -JOIN_MS
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to report."""
        self.local.alive = max(self.local.alive, self.replicas)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception:  # the border of a background concern
                log.exception("limit store not told")

    async def tick(self) -> None:
        """Report once; or ask whether the store lives, after it did not answer."""
        now_ms, breaker = self.now_ms(), self.link.breaker
        try:
            every_ms = PROBE_MS if breaker.open else JOIN_MS
            if now_ms - self._joined_ms >= every_ms:
                self._joined_ms = now_ms
                alive = await self.link.call(self.link.store.join(self.name, ALIVE_MS))
                self.local.alive = max(alive, self.replicas)
            if not breaker.open:
                await self._report(now_ms)
        except (TimeoutError, StoreDown):
            return  # counted by the breaker, which says it once
        self.slices.prune(now_ms)

    async def _report(self, now_ms: int) -> None:
        places = asyncio.Semaphore(TOLD_TOGETHER)

        async def tell(due: SliceDue) -> None:
            async with places:
                await self._tell(due)

        told = await asyncio.gather(
            *(tell(due) for due in self.slices.due(now_ms)), return_exceptions=True
        )
        for error in told:
            if error is not None:
                raise error
        for rid, limits in list(self.orphans.items()):
            await self.link.call(self.link.store.settle(rid, [0] * limits))
            self.orphans.pop(rid, None)
        await self._tell_what_is_owed()
        await self._reap(now_ms)

    async def _tell(self, due: SliceDue) -> None:
        """Make one call that the store is owed for a slice."""
        store, rid, counts = self.link.store, due.slice.rid, due.counts
        if due.operation == "settle":
            await self.link.call(store.settle(rid, counts))
        elif due.operation == "trim":
            await self.link.call(store.trim(rid, counts))
        else:
            await self.link.call(store.touch(rid, counts, RECORD_MS))
        self.slices.done(due, self.now_ms())

    async def _tell_what_is_owed(self) -> None:
        """Tell what was used without the store; each report has an id, so that it counts once."""
        store, link = self.link.store, self.link
        levels: dict[str, int] = {}
        for tag, limits in by_tag([(limit, 0) for limit in self.local.kept]).items():
            # A reservation of nothing: its answer has the levels.
            asked = store.reserve(
                self._report_id(tag, "asked"), link.in_store_time(limits), NEW_RECORD_MS
            )
            said = await link.call(asked)
            levels.update(zip((limit.key for limit, _ in limits), said.levels, strict=True))
        for tag, owed in by_tag(self.local.due(levels, self.now_ms())).items():
            self._unsaid[self._report_id(tag, "owed")] = owed
        for rid, owed in list(self._unsaid.items()):
            await link.call(store.owe(rid, link.in_store_time(owed)))
            self._unsaid.pop(rid, None)

    def _report_id(self, tag: str, what: str) -> str:
        self._reports += 1
        return f"{tag}{self.name}-{what}-{self._reports}"

    async def _reap(self, now_ms: int) -> None:
        """Close what dead gateways left of the tenants whose limits are used here."""
        tags = {tag_of(share.limit) for share in list(self.slices.shares.values())}
        for tag in tags:
            if now_ms - self._reaped.get(tag, -REAP_MS) >= REAP_MS:
                self._reaped[tag] = now_ms
                await self.link.call(self.link.store.reap(tag))
        for tag in [tag for tag in self._reaped if tag not in tags]:
            del self._reaped[tag]

    async def close(self) -> None:
        """Stop, and give back what is in hand as far as the store answers."""
        if self._task is not None:
            await tasks.end([self._task])
        later = self.now_ms() + RECORD_MS  # so that all slices are over
        try:
            await self._report(later)
        except (TimeoutError, StoreDown):
            log.warning("limit store not told at the end")  # what is open there will be reaped
