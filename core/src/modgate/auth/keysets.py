"""The key sets of all issuers, and the asking for them: one question at a time for each."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from modgate.api.issuer import KeyPlace
from modgate.auth.flights import Flights
from modgate.auth.jose import PublicKey, parse_jwks
from modgate.auth.keyset import KeySet
from modgate.clock import Clock

log = logging.getLogger(__name__)

PLACES_AT_MOST = 64

# Raises OSError or ValueError when the document cannot be had; it keeps a deadline.
Get = Callable[[str, str], Awaitable[bytes]]


@dataclass(slots=True)
class _Place:
    """The keys that were had from a place, and whether it failed last."""

    keys: KeySet[PublicKey] = field(default_factory=KeySet)
    failing: bool = False


class KeySets:
    """Key sets by place; they live longer than a snapshot.

    `get(url, ca)` asks an issuer; `lost()` is told when a key was taken away, so that what it has
    signed is not remembered as good.
    """

    def __init__(self, get: Get, clock: Clock, lost: Callable[[], None]) -> None:
        self._get = get
        self._clock = clock
        self._lost = lost
        self._places: dict[KeyPlace, _Place] = {}
        self._flights: Flights[None] = Flights()

    def of(self, place: KeyPlace) -> KeySet[PublicKey]:
        """The keys of a place that is asked by URL."""
        return self._at(place).keys

    def _at(self, place: KeyPlace) -> _Place:
        found = self._places.pop(place, None) or _Place()
        self._places[place] = found
        if len(self._places) > PLACES_AT_MOST:
            del self._places[next(iter(self._places))]
        return found

    def asking(self, place: KeyPlace) -> bool:
        """Whether the place is being asked now."""
        return self._flights.under_way(place)

    def ask_behind(self, place: KeyPlace, name: str) -> None:
        """Ask, if nobody does, and let the request go on."""
        self._flights.start(place, partial(self._ask, place, name))

    async def ask(self, place: KeyPlace, name: str) -> float:
        """Ask, or wait for who asks; the answer is the time then.  Overloaded if too many wait."""
        await self._flights.once(place, partial(self._ask, place, name))
        return self._clock.now()

    async def _ask(self, place: KeyPlace, name: str) -> None:
        at = self._at(place)
        at.keys.asked(self._clock.now())
        try:
            keys = parse_jwks(await self._get(place.url, place.ca))
        except (OSError, ValueError) as error:
            if not at.failing:
                reason = type(error).__name__ if isinstance(error, OSError) else str(error)
                log.warning("issuer keys not had", extra={"issuer": name, "reason": reason})
            at.failing = True
            return
        if at.failing:
            log.info("issuer keys had again", extra={"issuer": name})
        at.failing = False
        if at.keys.came(keys, self._clock.now()):
            self._lost()

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._flights.close()
