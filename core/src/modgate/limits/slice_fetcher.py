"""Fetching slices of shared limits from the store, for requests that wait for them.

Requests that lack the same limits stand in one line (lines.py).  One trip brings what all of them
need, so a burst costs the store one call, and a trip that fails lets them all go on without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from modgate import tasks
from modgate.limits.levels import Wanted
from modgate.limits.lines import Line
from modgate.limits.slices import NEW_RECORD_MS, Asking, Slices
from modgate.limits.store import Reserved, StoreDown, tag_of
from modgate.limits.store_deadline import StoreDeadline, still_wanted
from modgate.limits.store_link import StoreLink

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class SliceFetcher:
    """Makes the trips of one gateway.

    `orphans`: how many limits each reservation has whose trip was broken off, by record id.  The
    store may have made it or not, so it must be told to settle it at nothing.
    """

    link: StoreLink
    slices: Slices
    now_ms: Callable[[], int]
    orphans: dict[str, int] = field(default_factory=dict)
    _lines: dict[tuple[str, ...], Line] = field(default_factory=dict)
    _trips: set[asyncio.Task[None]] = field(default_factory=set)  # at most one a line
    _asked_for: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    async def fetch(self, lacking: Wanted) -> bool:
        """Fetch slices of the limits that a request lacks.

        False when the store does not answer in time, or is not asked: go on without it.
        """
        breaker = self.link.breaker
        if breaker.crowded:
            return False
        keys = tuple(limit.key for limit, _ in lacking)
        line = self._lines.get(keys)
        if line is None:
            line = self._lines[keys] = Line(lacking)
            trip = asyncio.get_running_loop().create_task(self._trip(keys, line))
            self._trips.add(trip)
            trip.add_done_callback(partial(self._ended, keys, line))
        line.join(lacking)
        breaker.waits += 1
        breaker.waiting += 1
        try:
            await asyncio.wait([line.over])
        finally:
            breaker.waiting -= 1
        return not line.failed

    async def _trip(self, keys: tuple[str, ...], line: Line) -> None:
        """Ask for what all in line need.

        Where another trip asks for a part of that, wait for it instead: all in line try again then,
        and may find that they lack nothing any more.
        """
        deadline = StoreDeadline(self.link.deadline_s)
        try:
            async with deadline:
                if others := {self._asked_for[key] for key in keys if key in self._asked_for}:
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
                self.link.failed(error, deadline)
        except Exception:  # the border of a trip: whoever waits goes on without the store
            log.exception("limit store broke")
            line.failed = True
            self.link.breaker.failed("broke")

    def _ended(self, keys: tuple[str, ...], line: Line, trip: asyncio.Task[None]) -> None:
        """Let those in line go on; also after a trip that was cancelled before it began."""
        self._trips.discard(trip)
        if self._lines.get(keys) is line:
            del self._lines[keys]
        line.failed = line.failed or trip.cancelled()
        line.over.set_result(None)

    async def _ask(self, asking: Asking) -> None:
        done = asyncio.get_running_loop().create_future()
        keys = [limit.key for limit, _ in asking.wanted]
        self._asked_for.update(dict.fromkeys(keys, done))
        try:
            await self._reserve(asking, asking.wanted)
            await self._reuse_what_is_unneeded(asking)
        except BaseException:
            self.orphans[asking.rid] = len(keys)
            raise
        finally:
            for key in keys:
                self._asked_for.pop(key, None)
            done.set_result(None)

    async def _reserve(self, asking: Asking, wanted: Wanted) -> None:
        """Reserve at the store, and less of it as long as that is worth another call."""
        said: Reserved = await self.link.store.reserve(
            asking.rid, self.link.in_store_time(wanted), NEW_RECORD_MS
        )
        self.link.breaker.answered()
        again = self.slices.reserved(asking, wanted, said, self.now_ms())
        if again is not None:
            await self._reserve(asking, again)

    async def _reuse_what_is_unneeded(self, asking: Asking) -> None:
        """Where the store denied, give back what ended requests did not need, and ask again.

        Nobody is denied for what lies here unused.
        """
        unneeded = self.slices.unneeded(asking, self.now_ms())
        for due in unneeded:
            await self.link.store.settle(due.slice.rid, due.counts)
            self.slices.done(due, self.now_ms())
        if unneeded:
            await self._reserve(asking, asking.wanted)

    async def close(self) -> None:
        """Break off all trips; whoever waits goes on without the store."""
        await tasks.end(self._trips)
