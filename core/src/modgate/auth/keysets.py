"""The key sets of all issuers, and the asking for them: one question at a time for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from modgate.api.issuer import KeyPlace
from modgate.auth.jose import PublicKey, parse_jwks
from modgate.auth.keyset import KeySet
from modgate.clock import Clock
from modgate.errors import Overloaded

log = logging.getLogger(__name__)

WAITING_AT_MOST = 1000
SETS_AT_MOST = 64

# Raises OSError or ValueError when the document cannot be had; it keeps a deadline.
Get = Callable[[str, str], Awaitable[bytes]]


class KeySets:
    """Key sets by place; they live longer than a snapshot.

    `get(url, ca)` asks an issuer; `lost()` is told when a key was taken away, so that what it has
    signed is not remembered as good.
    """

    def __init__(self, get: Get, clock: Clock, lost: Callable[[], None]) -> None:
        self._get = get
        self._clock = clock
        self._lost = lost
        self._sets: dict[KeyPlace, KeySet[PublicKey]] = {}
        self._asking: dict[KeyPlace, asyncio.Task[None]] = {}
        self._failing: set[KeyPlace] = set()
        self._waiting = 0

    def of(self, place: KeyPlace) -> KeySet[PublicKey]:
        """The keys of a place that is asked by URL."""
        found = self._sets.pop(place, None) or KeySet()
        self._sets[place] = found
        while len(self._sets) > SETS_AT_MOST:
            del self._sets[next(iter(self._sets))]
        return found

    def asking(self, place: KeyPlace) -> bool:
        """Whether the place is being asked now."""
        return place in self._asking

    def ask_behind(self, place: KeyPlace, name: str) -> None:
        """Ask, if nobody does, and let the request go on."""
        if place not in self._asking:
            self.of(place).asked(self._clock.now())
            task = asyncio.get_running_loop().create_task(self._ask(place, name))
            self._asking[place] = task
            task.add_done_callback(lambda _: self._asking.pop(place, None))

    async def ask(self, place: KeyPlace, name: str) -> float:
        """Ask, or wait for who asks; the answer is the time then.  Overloaded if too many wait."""
        if self._waiting >= WAITING_AT_MOST:
            raise Overloaded(f"too many requests wait for the keys of '{name}'")
        self.ask_behind(place, name)
        self._waiting += 1
        try:
            await asyncio.wait([self._asking[place]])
        finally:
            self._waiting -= 1
        return self._clock.now()

    async def _ask(self, place: KeyPlace, name: str) -> None:
        try:
            keys = parse_jwks(await self._get(place.url, place.ca))
        except (OSError, ValueError) as error:
            if place not in self._failing:
                reason = type(error).__name__ if isinstance(error, OSError) else str(error)
                log.warning("issuer keys not had", extra={"issuer": name, "reason": reason})
            self._failing.add(place)
            return
        if place in self._failing:
            log.info("issuer keys had again", extra={"issuer": name})
        self._failing.discard(place)
        self._came(place, keys)

    def _came(self, place: KeyPlace, keys: Mapping[str, PublicKey]) -> None:
        if self.of(place).came(keys, self._clock.now()):
            self._lost()

    async def close(self) -> None:
        """Ask nobody any more."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)
