"""One discoverer at work: a task that asks the world what its generator wants."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from modgate import tasks
from modgate.api.authenticator import Document
from modgate.api.discover import (
    AnyDiscoverer,
    Away,
    ConfiguredDiscoverer,
    Found,
    Get,
    Instance,
    Line,
    Lost,
    More,
    Names,
    Pause,
    Read,
    Resolve,
    Told,
    Want,
    Watch,
)
from modgate.clock import Clock
from modgate.faults import raised
from modgate.kit.finding import backoff_s

log = logging.getLogger(__name__)

INSTANCES_AT_MOST = 4096
FIRST_WORD_S = 10.0
SAID_AT_MOST = 8  # Found and Lost in a row
LEAST_PAUSE_S = 0.01
REASONS_AT_MOST = 16  # that one outage may have


class Asked(Protocol):
    """The world that is asked; a failure is an Away."""

    async def read(self, want: Read) -> Document:
        """A file."""
        ...

    async def get(self, want: Get) -> Document:
        """A document."""
        ...

    async def watch(self, want: Watch) -> tuple[Document | Line, AsyncIterator[bytes]]:
        """A reply's head, and its lines."""
        ...

    async def resolve(self, want: Resolve) -> Names:
        """What a name leads to."""
        ...


class Source:
    """Runs one discoverer until it is closed.

    `changed()` is called when its engines are others.  They stay as they are for as long as it
    cannot say what they are, or breaks.
    """

    def __init__(
        self,
        configured: ConfiguredDiscoverer,
        make: Callable[[], AnyDiscoverer],
        world: Asked,
        clock: Clock,
        changed: Callable[[], None],
        *,
        plugin: str = "",
    ) -> None:
        self.configured = configured
        self.instances: Sequence[Instance] = ()
        self.known = False
        self._make = make
        self._plugin = plugin
        self._world = world
        self._clock = clock
        self._changed = changed
        self._fresh_at = clock.now()
        self._lost = False
        self._owing = False  # the fleet did not take the change
        self._reasons: set[str] = set()
        self._lines: AsyncIterator[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def heard(self) -> bool:
        """Whether it said what it found or that it cannot, or has had its time to."""
        return self.known or self._lost or self.stale_s > FIRST_WORD_S

    @property
    def stale_s(self) -> float:
        """For how long it could not say what engines there are; 0 while it can."""
        return self._clock.now() - self._fresh_at if self._lost or not self.known else 0.0

    async def _run(self) -> None:
        """Run it, and again when it breaks: that is its author's fault and no reason to go on
        without engines.
        """
        tries = 0
        while True:
            try:
                await self._follow()
                return
            except raised() as error:
                log.exception("discoverer broke", extra=self._words())
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError from error  # it broke over being let go
                self._lose(type(error).__name__)
            await asyncio.sleep(backoff_s(tries, random.random))
            tries += 1

    async def _follow(self) -> None:
        finding = self._make().discover(self._clock.now, random.random)
        told: Told = None
        try:
            want, said = next(finding), 0
            while True:
                said = said + 1 if isinstance(want, Found | Lost) else 0
                if said > SAID_AT_MOST:  # nobody else would ever have a turn
                    raise RuntimeError("a discoverer that says so much must wait in between")
                try:
                    told = await self._ask(want)
                except Away as error:
                    want = finding.throw(error)
                else:
                    want = finding.send(told)
        except StopIteration:
            return
        finally:
            finding.close()
            await self._leave()

    async def _ask(self, want: Want) -> Told:
        if isinstance(want, More):
            return await self._next()
        if isinstance(want, Found | Lost):
            self._hear(want)
            return None
        await self._leave()  # whatever else it asks, a watch that was open is done
        return await self._ask_world(want)

    def _hear(self, said: Found | Lost) -> None:
        if isinstance(said, Found):
            self._take(said.instances)
        else:
            self._lose(said.reason)

    async def _ask_world(self, want: Watch | Get | Read | Resolve | Pause) -> Told:
        if isinstance(want, Watch):
            told, self._lines = await self._world.watch(want)
            return told
        if isinstance(want, Get):
            return await self._world.get(want)
        if isinstance(want, Read):
            return await self._world.read(want)
        if isinstance(want, Resolve):
            return await self._world.resolve(want)
        if isinstance(want, Pause):
            await asyncio.sleep(max(LEAST_PAUSE_S, want.for_s))
            return None
        raise TypeError(f"a discoverer wants a {type(want).__name__}")

    async def _next(self) -> Line | None:
        if self._lines is None:
            return None
        async for line in self._lines:
            return Line(data=line)
        return None

    async def _leave(self) -> None:
        lines, self._lines = self._lines, None
        close = getattr(lines, "aclose", None)
        if close is not None:
            await close()

    def _take(self, instances: Sequence[Instance]) -> None:
        if len(instances) > INSTANCES_AT_MOST:
            self._lose(f"more than {INSTANCES_AT_MOST} engines")
            return
        if self._lost:
            log.warning("discovery is back", extra=self._words())
        self._lost, self._fresh_at = False, self._clock.now()
        self._reasons.clear()
        if self.known and not self._owing and list(instances) == list(self.instances):
            return
        self.instances, self.known, self._owing = tuple(instances), True, True
        log.info("engines found", extra={**self._words(), "backends": len(instances)})
        self._changed()
        self._owing = False

    def _lose(self, reason: str) -> None:
        """Each reason is said once, until it is found again: who mends one sees the next."""
        if reason not in self._reasons and len(self._reasons) < REASONS_AT_MOST:
            self._reasons.add(reason)
            words = {**self._words(), "reason": reason, "backends_kept": len(self.instances)}
            log.error("discovery failed; the engines stay as they are", extra=words)
        self._lost = True

    def _words(self) -> dict[str, str]:
        words = {"discover": self.configured.name, "discoverer": self.configured.kind}
        return {**words, "plugin": self._plugin} if self._plugin else words

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            await tasks.end([self._task])
