"""Work beside the event loop that nobody leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

log = logging.getLogger(__name__)

LATE_S = 30.0  # a file system that hangs, or a pipe that nobody writes to
LEFT_S = 5.0

Answer = TypeVar("Answer")


async def beside(work: Callable[[], Answer]) -> Answer:
    """What it answers, made in a thread; who is cancelled waits for its end.

    So it works with nothing that was closed since, and what it holds is held until then.  What
    still hangs after five seconds is left to the end of the process, which does not wait for it.
    """
    loop = asyncio.get_running_loop()
    answer: Future[Answer] = Future()
    Thread(target=_done, args=(work, answer), name="beside", daemon=True).start()
    running = asyncio.wrap_future(answer)
    late = loop.call_later(LATE_S, log.error, "what is read does not come to an end")
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running], timeout=LEFT_S)
        if not running.cancel():
            running.exception()  # nobody asks for it any more
        raise
    finally:
        late.cancel()


def _done(work: Callable[[], Answer], answer: Future[Answer]) -> None:
    answer.set_running_or_notify_cancel()  # from now on nobody can call it off
    try:
        answer.set_result(work())
    except BaseException as error:  # noqa: BLE001 -- whoever waits is told
        answer.set_exception(error)
