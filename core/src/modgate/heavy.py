"""A relay that works for long: in a thread, and bite by bite, so its first bytes leave early."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

from modgate.api.relay import Relay
from modgate.errors import PluginFault
from modgate.faults import raised

THREADS = 2  # of all heavy relays together
NICE = 3
BITE_S = 0.001  # the first bite after the reply has begun; each later one is twice as long
BITE_AT_MOST_S, BITE_BYTES = 0.25, 1 << 20  # then what it made leaves, and another has the thread
BEGIN_S = 0.004  # after the run began: its first call was sent, so the two do not contend


def heavy_threads() -> ThreadPoolExecutor:
    """The threads that heavy relays share; they give way to the event loop."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="relay", initializer=_behind_the_loop)


def _behind_the_loop() -> None:
    if sys.platform == "linux":  # niceness of one thread; elsewhere the loop is only slower
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class HeavyRelay:
    """A relay that works in these threads, now in one and then in another, never in two at once.

    Its `begin` runs while the first call is on its way.
    """

    __slots__ = ("_begun", "_loop", "_pool", "_relay", "_soon")

    def __init__(self, relay: Relay, pool: Executor) -> None:
        self._relay = relay
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.TimerHandle | None = self._loop.call_later(BEGIN_S, self._begin)
        self._begun: asyncio.Future[None] | None = None

    def _begin(self) -> None:
        soon, self._soon = self._soon, None
        if soon is None:
            return
        soon.cancel()
        self._begun = self._loop.run_in_executor(self._pool, self._relay.begin)
        self._begun.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def bite(self, made: Iterator[bytes], data: list[bytes], bite_s: float) -> bool:
        """Draw from `made` into `data` for `bite_s`, or a megabyte; whether there may be more.

        Raises what the relay raises, PluginFault for what its `begin` did.
        """
        self._begin()
        begun, self._begun = self._begun, None
        if begun is not None:
            try:
                await begun
            except raised() as error:
                name = type(self._relay).__name__
                raise PluginFault(f"{type(error).__name__} in {name}") from error
        bite = partial(bitten, made, data, bite_s, self._loop.time)
        return await self._loop.run_in_executor(self._pool, bite)

    def close(self) -> None:
        """Begin nothing any more."""
        if self._soon is not None:
            self._soon.cancel()
        if self._begun is not None:
            self._begun.cancel()


def longer(bite_s: float) -> float:
    """How long the bite after one of `bite_s` may last."""
    return min(BITE_AT_MOST_S, max(BITE_S, 2 * bite_s))


def bitten(
    made: Iterator[bytes], data: list[bytes], bite_s: float, now: Callable[[], float]
) -> bool:
    """Draw for so long, by `now`, or up to BITE_BYTES; whether there may be more."""
    until, room = now() + bite_s, BITE_BYTES
    for each in made:
        data.append(each)
        room -= len(each)
        if room <= 0 or now() >= until:
            return True
    return False
