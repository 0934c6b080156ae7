"""How late the event loop runs: what blocks it delays every request by as much."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from modgate.observe.metrics import Registry

EVERY_S = 0.25
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class LoopLag:
    """Sleeps a little, over and over, and counts by how much each sleep was too long.

    `now` and `sleep` are the loop's unless a test brings its own.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        now: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._lag = registry.histogram(
            "modgate_loop_lag_seconds", "how late the event loop runs a timer", LAG_S
        ).child()
        self._now = now
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop; a second start does nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self.measure(), name="loop-lag")

    async def measure(self) -> None:
        """Measure until cancelled."""
        now = self._now or asyncio.get_running_loop().time
        while True:
            due = now() + EVERY_S
            await self._sleep(EVERY_S)
            self._lag.observe(max(0.0, now() - due))

    async def close(self) -> None:
        """Stop; safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
