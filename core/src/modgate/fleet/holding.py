"""Calls of models that no engine serves now: held until one does, that is found or has loaded it.

It wakes all of them; they then take slots, or their turn in the line, as calls do that came at that
moment.

Source: field.md row 28.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from modgate.api.residency import may_lie
from modgate.api.select import Backend
from modgate.errors import NoBackend
from modgate.fleet.claim import QueueRules
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted

ASKED_EVERY_S = 0.05  # by one of a model's calls


@dataclass(frozen=True, slots=True)
class Awaited:
    """Engines that a discoverer may find.

    `template`: what they are but for their address; `roams`: each may say itself where it stands.
    """

    template: Backend
    roams: bool

    def may_serve(self, model: str, wanted: Wanted) -> bool:
        """Whether one of them may take such a call."""
        here, offers = self.template, self.template.offers
        return (
            model in here.serves
            and (self.roams or may_lie(wanted.regions, here.region))
            and all(value in offers.get(kind, (value,)) for kind, value in wanted.requires)
        )


class Holding:
    """Of one snapshot.  `rules`: for how long calls are held, and how many of one model."""

    def __init__(self, awaited: Sequence[Awaited], rules: QueueRules) -> None:
        self._awaited = awaited
        self._rules = rules
        self._calls: Counter[tuple[str, str]] = Counter()
        self._ready: dict[str, asyncio.Event] = {}  # of models that somebody waits for
        self._looked: dict[str, float] = {}

    @property
    def calls(self) -> Counter[str]:
        """That are held now, by model."""
        found: Counter[str] = Counter()
        for (model, _), count in list(self._calls.items()):
            found[model] += count
        return found

    def changed(self) -> None:
        """The engines are others than they were."""
        for model in list(self._ready):
            self.answered(model)

    def answered(self, model: str) -> None:
        """An engine of this model is ready: all that are held for it try at once."""
        if (event := self._ready.pop(model, None)) is not None:
            event.set()

    def awaits(self, model: str, wanted: Wanted) -> bool:
        """Whether an engine may be found that can take such a call."""
        return any(each.may_serve(model, wanted) for each in self._awaited)

    def has_room(self, model: str, tenant: str) -> bool:
        """Whether one more call is held."""
        rules, own = self._rules, self._calls[model, tenant]
        return (
            rules.hold_s > 0
            and own < max(1, rules.share * rules.calls)
            and self.calls[model] < rules.calls
        )

    def turn_s(self, model: str, now: float) -> float:
        """Until a call may ask whether its model is loaded: however many are held take turns."""
        at = max(now, self._looked.get(model, now)) + ASKED_EVERY_S
        self._looked[model] = at
        return at - now

    async def until(
        self, take: Callable[[], Lease | None], error: NoBackend, model: str, tenant: str, s: float
    ) -> Lease | None:
        """What `take` answers once it does not raise; the error that it raised last after `s`."""
        try:
            async with asyncio.timeout(s):
                while True:
                    await self._wait(model, tenant)
                    try:
                        return take()
                    except NoBackend as later:
                        error = later
        except TimeoutError:
            raise error from None

    async def pause(self, model: str, tenant: str, s: float) -> None:
        """So long, or until an engine is ready."""
        with suppress(TimeoutError):
            async with asyncio.timeout(s):
                await self._wait(model, tenant)

    async def _wait(self, model: str, tenant: str) -> None:
        event = self._ready.setdefault(model, asyncio.Event())
        self._calls[model, tenant] += 1
        try:
            await event.wait()
        finally:
            self._calls[model, tenant] -= 1
            self._calls = +self._calls
            if not self.calls[model]:
                self._ready.pop(model, None)
                self._looked.pop(model, None)
