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
from dataclasses import dataclass, field
from math import inf

from modgate.api.residency import may_lie
from modgate.api.select import Backend
from modgate.errors import NoBackend
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted
from modgate.fleet.room import Room
from modgate.tracebacks import let_go

ASKED_EVERY_S = 0.05  # by one of a model's calls
WAKE_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Awaited:
    """Engines that a discoverer may find.

    `template`: what they are but for their address; `roams`: each may say itself where it stands.
    `wake(model)`: somebody may make one.
    """

    template: Backend
    roams: bool
    wake: Callable[[str], None] | None = None

    def may_serve(self, model: str, wanted: Wanted) -> bool:
        """Whether one of them may take such a call."""
        here, offers = self.template, self.template.offers
        return (
            model in here.serves
            and (self.roams or may_lie(wanted.regions, here.region))
            and all(value in offers.get(kind, (value,)) for kind, value in wanted.requires)
        )


@dataclass(slots=True, eq=False)
class _Held:
    """The calls of one model.

    `loading`: backends that told one of them that they load it.  `asked`: when the last that was
    given a turn asks.
    """

    room: Room = field(default_factory=Room)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    loading: set[str] = field(default_factory=set)
    asked: float = -inf

    def wake(self) -> None:
        """All of them try at once."""
        self.ready.set()
        self.ready = asyncio.Event()


class Holding:
    """Of one snapshot.  `rules`: for how long calls are held, and how many of one model."""

    def __init__(self, awaited: Sequence[Awaited], rules: QueueRules) -> None:
        self._awaited = awaited
        self._rules = rules
        self._held: dict[str, _Held] = {}  # of models that somebody asked for in vain

    @property
    def calls(self) -> Counter[str]:
        """That are held now, by model."""
        held = list(self._held.items())
        return Counter({model: each.room.calls for model, each in held if each.room.calls})

    def changed(self) -> None:
        """The engines are others than they were."""
        for held in self._held.values():
            held.wake()

    def answered(self, model: str, backend: str) -> None:
        """This one is ready; who was told that it loads the model tries at once.

        What others answer is no news: who is held may not use them, or cannot be said to them.
        """
        held = self._held.get(model)
        if held is not None and backend in held.loading:
            held.loading.remove(backend)
            held.wake()

    def awaits(self, model: str, wanted: Wanted) -> bool:
        """Whether an engine may be found that can take such a call."""
        return any(each.may_serve(model, wanted) for each in self._awaited)

    def has_room(self, model: str, claim: Claim) -> bool:
        """Whether one more call is held, within the bounds of a queue."""
        if self._rules.hold_s <= 0:
            return False
        room = self._of(model).room
        room.add(claim)
        over = room.over(claim.tenant, self._rules)
        room.remove(claim)
        return over is None

    def turn_s(self, model: str, now: float) -> float:
        """Seconds until this call may ask whether its model is loaded: held calls take turns."""
        held = self._of(model)
        held.asked = max(now, held.asked) + ASKED_EVERY_S
        return held.asked - now

    async def until(
        self, take: Callable[[], Lease | None], model: str, wanted: Wanted, claim: Claim
    ) -> Lease | None:
        """What `take` answers once it does not raise; whoever awaits it bounds the wait."""
        while True:
            self._ask_for(model, wanted)
            with suppress(TimeoutError):
                async with asyncio.timeout(WAKE_AGAIN_S):
                    await self._wait(model, claim)
            try:
                return take()
            except NoBackend as error:
                let_go([error])  # it may be told, but not from where it came

    def _ask_for(self, model: str, wanted: Wanted) -> None:
        """Tell whoever makes engines that one is wanted."""
        for each in self._awaited:
            if each.wake is not None and each.may_serve(model, wanted):
                each.wake(model)

    async def pause(self, model: str, backend: str, claim: Claim, s: float) -> None:
        """Wait `s` seconds, or until an engine is ready; `backend` said that it loads the model."""
        self._of(model).loading.add(backend)
        with suppress(TimeoutError):
            async with asyncio.timeout(s):
                await self._wait(model, claim)

    async def _wait(self, model: str, claim: Claim) -> None:
        held = self._of(model)
        held.room.add(claim)
        try:
            await held.ready.wait()
        finally:
            held.room.remove(claim)
            if not held.room.calls:
                self._held.pop(model, None)

    def _of(self, model: str) -> _Held:
        return self._held.setdefault(model, _Held())
