from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
import uvloop

from modgate.errors import Cancelled, UpstreamTimedOut
from modgate.guard import Deadline, Guard

NewLoop = Callable[[], asyncio.AbstractEventLoop]


async def test_a_fired_guard_ends_the_wait_with_its_reason() -> None:
    guard = Guard()
    asyncio.get_running_loop().call_soon(guard.fire, Cancelled("gone"))

    with pytest.raises(Cancelled), guard:
        await asyncio.sleep(10)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_only_the_first_reason_counts() -> None:
    guard = Guard()
    guard.fire(Cancelled("first"))
    guard.fire(UpstreamTimedOut("second"))

    with pytest.raises(Cancelled), guard:
        await asyncio.sleep(10)


async def test_a_cancellation_from_outside_stays_one() -> None:
    guard = Guard()

    async def wait() -> None:
        with guard:
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_fired_by_its_own_task_it_cancels_no_later_wait() -> None:
    guard = Guard()
    with guard:
        guard.fire(Cancelled("gone"))
    await asyncio.sleep(0)  # would be hit by a stale cancellation

    assert guard.reason is not None


async def test_nested_guards_each_take_their_own() -> None:
    outer, inner = Guard(), Guard()
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, inner.fire, UpstreamTimedOut("late"))
    loop.call_later(0.03, outer.fire, Cancelled("gone"))

    async def both() -> None:
        with outer:
            with pytest.raises(UpstreamTimedOut), inner:
                await asyncio.sleep(10)
            await asyncio.sleep(10)

    with pytest.raises(Cancelled):
        await both()


async def test_a_deadline_that_is_moved_fires_later() -> None:
    deadline = Deadline(lambda: UpstreamTimedOut("late"))
    deadline.set(deadline.now() + 0.02)
    with deadline:
        deadline.at = deadline.now() + 0.2
        await asyncio.sleep(0.05)
    with pytest.raises(UpstreamTimedOut), deadline:
        await asyncio.sleep(5)
    deadline.disarm()


def test_a_deadline_that_is_over_may_be_set_again_whatever_the_loop() -> None:
    async def twice() -> None:
        deadline = Deadline(lambda: UpstreamTimedOut("late"))
        with deadline:
            deadline.set(deadline.now() - 1)
            deadline.set(deadline.now() - 2)
            await asyncio.sleep(10)

    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(UpstreamTimedOut),
    ):
        runner.run(twice())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_came_while_the_loop_stood_still_is_no_timeout(new_loop: NewLoop) -> None:
    async def wait() -> bytes:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        deadline = Deadline(lambda: UpstreamTimedOut("late"))
        deadline.set(deadline.now() + 0.05)
        with theirs, deadline:
            asyncio.get_running_loop().call_later(0.01, _stand_still, theirs)
            said = await reader.readline()
        writer.close()
        return said

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(wait()) == b"an answer\n"


def _stand_still(theirs: socket.socket) -> None:
    time.sleep(0.3)
    theirs.sendall(b"an answer\n")


async def test_a_loop_that_stands_still_waits_for_nobody_for_ever() -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(lambda: UpstreamTimedOut("late"))
    deadline.set(deadline.now() + 0.01)

    def stand_still() -> None:
        time.sleep(0.1)
        loop.call_soon(stand_still)

    stand_still()
    with pytest.raises(UpstreamTimedOut), deadline:
        await asyncio.sleep(60)
