"""Tasks end when they are to, and what somebody left with the loop does not end it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from modgate import tasks
from modgate.tasks import stay

Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Factory:
    if request.param == "asyncio":
        return asyncio.new_event_loop
    made: Factory = pytest.importorskip("uvloop").new_event_loop  # of modgate[speed]
    return made


async def quits() -> None:
    sys.exit(3)


async def serves(*left: Callable[[asyncio.AbstractEventLoop], object]) -> list[str]:
    """Goes on until each of those was done with, and what was to come after them came."""
    running = asyncio.get_running_loop()
    done = []
    for leave in left:
        kept = leave(running)
        came = running.create_future()
        running.call_soon(came.set_result, "after")
        done.append(await came)
        if isinstance(kept, asyncio.Task):
            kept.exception()
    return done


LEFT = {
    "a callback": lambda loop: loop.call_soon(sys.exit, 3),
    "a timer": lambda loop: loop.call_later(0, sys.exit),
    "a task": lambda loop: loop.create_task(quits()),
}


@pytest.mark.parametrize("leave", LEFT.values(), ids=LEFT)
def test_an_exit_of_a_callback_is_told_and_the_rest_goes_on(
    loop: Factory, leave: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    async def waits() -> list[str]:
        done = await serves(leave, leave)
        await asyncio.sleep(0.01)  # the timers are due
        return done

    with asyncio.Runner(loop_factory=loop) as runner:
        assert stay(runner.get_loop(), waits(), runner.run) == ["after", "after"]

    told = [record for record in caplog.records if record.getMessage() == "exit in the event loop"]
    assert told
    assert all(record.exc_info for record in told)


def test_our_own_exit_is_one(loop: Factory) -> None:
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(SystemExit) as caught:
        stay(runner.get_loop(), quits(), runner.run)

    assert caught.value.code == 3


def test_an_error_of_ours_is_raised(loop: Factory) -> None:
    async def fails() -> None:
        raise ValueError("no such file")

    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(ValueError, match="no such"):
        stay(runner.get_loop(), fails(), runner.run)


async def test_a_task_that_lost_its_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await tasks.end([task])

    assert task.cancelled()
