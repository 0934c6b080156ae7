"""A loop with sockets whose time passes only while nobody works: on no machine it is late.

For what is measured in time inside one process: a gateway, engines and clients that share the loop.
`rigs.virtual` is for what has no sockets, and asks for no time at all.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

import pytest

from modgate.server import app

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
BEGAN_S = 1000.0
WALL_S = 1_767_225_600.0
ARRIVES_S = 0.001  # what was sent over loopback is there by then


class UnhurriedLoop(asyncio.SelectorEventLoop):
    """Jumps to whatever is due next once nothing is ready and no thread works.

    Also a gateway's clock.  `works`: whether somebody else does, who is waited for as well.
    """

    def __init__(self) -> None:
        self._at = BEGAN_S
        self._threads = 0
        self.works: Callable[[], bool] = bool
        super().__init__(_Selector(self._passes))

    def time(self) -> float:
        """Seconds that were waited for."""
        return self._at

    now = time

    def stall(self, seconds: float) -> None:
        """As if a callback had held the loop for so long."""
        self._at += seconds

    def wall(self) -> float:
        """The same, as seconds since the epoch."""
        return WALL_S + self._at

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As ever, and no time passes before it is done."""
        done = super().run_in_executor(executor, func, *args)
        self._threads += 1
        done.add_done_callback(self._worked)
        return done

    def _worked(self, _: object) -> None:
        self._threads -= 1

    def _passes(self, seconds: float) -> None:
        if not self._threads and not self.works():
            self._at += seconds


class _Selector(selectors.DefaultSelector):
    """Waits for no longer than what is on its way takes; tells of the time that it did not wait."""

    def __init__(self, passes: Callable[[float], None]) -> None:
        super().__init__()
        self._passes = passes

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(ARRIVES_S)
        if not ready:
            self._passes(timeout)
        return ready


def unhurried(work: Callable[[UnhurriedLoop], Coroutine[None, None, T]]) -> T:
    """Run it in a loop of its own, whose time is that of every gateway that it starts."""
    with (
        pytest.MonkeyPatch.context() as patch,
        asyncio.Runner(loop_factory=UnhurriedLoop) as runner,
    ):
        loop = runner.get_loop()
        assert isinstance(loop, UnhurriedLoop)
        patch.setattr(app, "SystemClock", lambda: loop)
        return runner.run(work(loop))
