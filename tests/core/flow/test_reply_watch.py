"""What is done about a reply that nobody reads, that is silent, or that takes long."""

from __future__ import annotations

import asyncio
from typing import Any

from rigs.virtual import virtually

from modgate.errors import Cancelled
from modgate.guard import Guard
from modgate.reply_watch import ReplyWatch
from modgate.timeouts import Timeouts


class Watched:
    """A reply that is watched, and when what was done about it.

    It stands in for the `Reply`: the two members and `abort` are all that a watch asks of one.
    """

    def __init__(self, *, sending_s: float = 0.0, **timeouts: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._sending_s = sending_s
        self.sent_at = self._now()
        self.writing_since: float | None = None
        self.aborted: list[float] = []
        self.touched: list[float] = []
        self.kept: list[float] = []
        self.sent: list[float] = []
        self.guard = Guard()
        reply: Any = self
        self.watch = ReplyWatch(
            reply, guard=self.guard, timeouts=Timeouts(**timeouts), touch=self._touch
        )

    def abort(self) -> None:
        self.aborted.append(self._now())

    def _touch(self) -> None:
        self.touched.append(self._now())

    async def keep_alive(self) -> None:
        self.kept.append(self._now())
        await asyncio.sleep(self._sending_s)
        self.sent.append(self._now())


@virtually
async def test_a_client_that_stops_reading_is_cut_when_its_time_is_over() -> None:
    watched = Watched(client_stalled_s=20.0)
    watched.writing_since = 0.0
    watched.watch.begin(watched.keep_alive)
    await asyncio.sleep(20.0)
    early = (watched.aborted.copy(), watched.guard.reason)
    await asyncio.sleep(5.0)
    watched.watch.close()

    assert early == ([], None)
    assert watched.aborted == [21.0]
    assert isinstance(watched.guard.reason, Cancelled)


@virtually
async def test_a_client_that_reads_again_in_time_is_not_cut() -> None:
    watched = Watched(client_stalled_s=20.0)
    watched.watch.begin(watched.keep_alive)
    for _ in range(10):
        watched.writing_since = watched._now()
        await asyncio.sleep(19.0)
    watched.watch.close()

    assert (watched.aborted, watched.guard.reason) == ([], None)


@virtually
async def test_a_silent_reply_is_kept_alive_and_one_that_goes_on_is_not() -> None:
    watched = Watched(keep_alive_s=15.0)
    watched.watch.begin(watched.keep_alive)
    for _ in range(6):
        await asyncio.sleep(5.0)
        watched.sent_at = watched._now()
    busy = watched.kept.copy()
    await asyncio.sleep(17.0)
    watched.watch.close()

    assert busy == []
    assert watched.kept == [46.0]


@virtually
async def test_what_waits_for_its_client_is_sent_nothing_more() -> None:
    watched = Watched(keep_alive_s=5.0, client_stalled_s=100.0)
    watched.watch.begin(watched.keep_alive)
    watched.writing_since = 0.0
    await asyncio.sleep(50.0)
    watched.watch.close()

    assert watched.kept == []


@virtually
async def test_one_keep_alive_is_sent_at_a_time() -> None:
    watched = Watched(keep_alive_s=5.0, sending_s=12.0)
    watched.watch.begin(watched.keep_alive)
    await asyncio.sleep(22.0)
    watched.watch.close()

    assert (watched.kept, watched.sent) == ([6.0, 21.0], [18.0])


@virtually
async def test_what_was_used_is_noted_after_a_second_and_every_five_until_the_end() -> None:
    found = []
    for timeouts in ({}, {"keep_alive_s": 0.25}):
        watched = Watched(**timeouts)
        began = watched._now()
        watched.watch.begin(watched.keep_alive)
        watched.watch.begin(watched.keep_alive)  # another plan of the same request
        await asyncio.sleep(12.0)
        await watched.watch.end()
        await asyncio.sleep(12.0)
        found.append([at - began for at in watched.touched])

    assert found == [[1.0, 6.0, 11.0]] * 2


@virtually
async def test_at_its_end_a_keep_alive_is_sent_whole_and_none_follows() -> None:
    watched = Watched(keep_alive_s=5.0, sending_s=3.0)
    watched.watch.begin(watched.keep_alive)
    await asyncio.sleep(7.0)
    await watched.watch.end()
    ended = watched._now()
    await asyncio.sleep(50.0)

    assert ended == 9.0
    assert (watched.kept, watched.sent, watched.touched) == ([6.0], [9.0], [1.0, 6.0])


@virtually
async def test_what_is_closed_cuts_its_keep_alive_and_holds_nothing() -> None:
    watched = Watched(keep_alive_s=5.0, sending_s=3.0)
    watch = watched.watch
    watch.begin(watched.keep_alive)
    await asyncio.sleep(7.0)
    watch.close()
    await asyncio.sleep(50.0)

    assert (watched.kept, watched.sent, watched.touched) == ([6.0], [], [1.0, 6.0])
    assert not {watch._touch, watch._keep_alive} & {watched._touch, watched.keep_alive}
