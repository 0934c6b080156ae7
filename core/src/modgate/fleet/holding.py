"""Calls of models that no engine serves now, where one may come: held until it is there.

An engine that comes wakes all of them; they then take slots, or their turn in the line, as calls do
that came at that moment.

Source: field.md row 28.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modgate.api.residency import may_lie
from modgate.api.select import Backend
from modgate.errors import NoBackend
from modgate.fleet.claim import QueueRules
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted


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
        self._changed = asyncio.Event()
        self._calls: Counter[tuple[str, str]] = Counter()

    @property
    def calls(self) -> Counter[str]:
        """That are held now, by model."""
        found: Counter[str] = Counter()
        for (model, _), count in list(self._calls.items()):
            found[model] += count
        return found

    def changed(self) -> None:
        """The engines are others than they were."""
        self._changed.set()
        self._changed = asyncio.Event()

    def takes(self, model: str, wanted: Wanted, tenant: str) -> bool:
        """Whether such a call is held where no engine can take it, and there is room for it."""
        rules, own = self._rules, self._calls[model, tenant]
        return (
            rules.hold_s > 0
            and any(each.may_serve(model, wanted) for each in self._awaited)
            and self.calls[model] < rules.calls
            and own < max(1, rules.share * rules.calls)
        )

    async def until(
        self, take: Callable[[], Lease | None], error: NoBackend, model: str, tenant: str, s: float
    ) -> Lease | None:
        """What `take` answers once it does not raise; the error that it raised last after `s`."""
        self._calls[model, tenant] += 1
        try:
            async with asyncio.timeout(s):
                while True:
                    await self._changed.wait()
                    try:
                        return take()
                    except NoBackend as later:
                        error = later
        except TimeoutError:
            raise error from None
        finally:
            self._calls[model, tenant] -= 1
            self._calls = +self._calls
