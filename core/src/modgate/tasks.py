"""Running tasks to their end, and ending them, for whoever owns them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

AGAIN_S = 10.0  # longer than any of ours takes to end


async def end(tasks: Iterable[asyncio.Task[object]]) -> None:
    """Cancel them all, and wait until they are over.

    One that goes on all the same is cancelled again, for what it awaited may have lost it: before
    Python 3.13 an `asyncio.TaskGroup` does where one of its tasks fails at that moment.
    """
    ending = set(tasks)
    while ending:
        for task in ending:
            task.cancel()
        _, ending = await asyncio.wait(ending, timeout=AGAIN_S)


def stay(
    loop: asyncio.AbstractEventLoop,
    main: Coroutine[object, object, T],
    run: Callable[[Coroutine[object, object, T]], T] | None = None,
) -> T:
    """Run `main` to its end, and return what it does, whatever else in the loop calls `sys.exit`.

    What a plugin leaves with the loop, a callback or a task of its own, runs where nobody of us can
    catch what it raises; and a SystemExit there ends the loop, and all that is in it.  It is told,
    and the loop goes on.  A KeyboardInterrupt may be the operator's, so it is raised.

    `run`: runs the loop until a coroutine has ended, as a Runner does; the loop itself, where None.
    """
    running = loop.create_task(main)
    while True:
        try:
            return (run or loop.run_until_complete)(_result(running))
        except SystemExit as error:
            if running.done():
                raise
            log.error("exit in the event loop", exc_info=error)


async def _result(task: asyncio.Task[T]) -> T:
    return await task
