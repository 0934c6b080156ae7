"""Pools of seats by model, leases, and the calls that wait for one.

Waiting is first come, first served within a model, up to the first waiter that can use the slot
that came free; lower calls of a request come first because they are drawn first.  (Fairness over
tenants and classes takes the place of this order later; `Waiter` carries what it needs.)
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from modgate.api.select import Backend
from modgate.errors import NoBackend, Overloaded
from modgate.fleet.pick import Wanted, candidates, pick
from modgate.fleet.slots import Seat, Slots

WAITING_AT_MOST = 1000
LOOK_AT_MOST = 64


@dataclass(slots=True, eq=False)
class Waiter:
    """A call that waits.  `key`: calls of equal keys may share a trip; None = it goes alone."""

    fleet: Fleet
    pool: Sequence[Seat]
    wanted: Wanted
    key: Hashable | None
    granted: asyncio.Future[Lease | None]
    rider: object = None


@dataclass(slots=True)
class FleetState:
    """What outlives a reload: slots by engine identity and group, and who waits, by model."""

    slots: dict[str, Slots] = field(default_factory=dict)
    groups: dict[str, Slots] = field(default_factory=dict)
    waiting: dict[str, deque[Waiter]] = field(default_factory=dict)

    @property
    def queued(self) -> int:
        """Calls that wait now."""
        return sum(len(line) for line in list(self.waiting.values()))

    def slots_of(self, identity: str, limit: int) -> Slots:
        """An engine's slots; a changed limit keeps what is taken."""
        slots = self.slots.setdefault(identity, Slots(limit=limit))
        slots.limit = limit
        return slots

    def group_of(self, name: str, limit: int) -> Slots:
        """A group's slots."""
        slots = self.groups.setdefault(name, Slots(limit=limit))
        slots.limit = limit
        return slots

    def prune(self, identities: Iterable[str]) -> None:
        """Forget engines that are named nowhere any more and have nothing in flight."""
        for identity in [
            i for i, s in self.slots.items() if i not in set(identities) and not s.taken
        ]:
            del self.slots[identity]


class Lease:
    """The right to one slot of one backend for one call; given back exactly once."""

    __slots__ = ("_fleet", "_seat", "_work", "backend")

    def __init__(self, fleet: Fleet, seat: Seat, backend: Backend, work: float) -> None:
        self._fleet = fleet
        self._seat: Seat | None = seat
        self._work = work
        self.backend = backend

    def carry(self, work: float) -> None:
        """The call is of this size after all: others came along."""
        if self._seat is not None:
            self._seat.more(work - self._work)
            self._work = work

    def give_back(self) -> None:
        """The call ended; the slot goes to whoever waits for it."""
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.give(self._work)
            self._fleet.pump()


class Fleet:
    """The backends of one snapshot over the State that all snapshots share.

    `use` changes them while requests run: what is discovered is life and not configuration.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        state: FleetState,
        *,
        groups: Mapping[str, int],
        rng: Callable[[], float] = random.random,
        waiting_at_most: int = WAITING_AT_MOST,
    ) -> None:
        self.state = state
        self._groups = groups
        self._rng = rng
        self._waiting_at_most = waiting_at_most
        self.backends: Mapping[str, Backend] = {}
        self.pools: Mapping[str, Sequence[Seat]] = {}
        self.use(backends)

    def use(self, backends: Sequence[Backend]) -> None:
        """These are the backends from now on; calls in flight elsewhere end where they are.

        Calls that wait may go to new ones at once.  One that drains takes a call only of a model
        that no other serves.
        """
        pools: dict[str, list[Seat]] = {}
        last: dict[str, list[Seat]] = {}
        for backend in backends:
            seat = self._seat(backend)
            for model in backend.serves:
                (last if backend.draining else pools).setdefault(model, []).append(seat)
        self.backends = {backend.name: backend for backend in backends}
        self.pools = {**last, **pools}
        for model, line in self.state.waiting.items():
            for waiter in line:
                if waiter.fleet is self:
                    waiter.pool = candidates(self.pools.get(model, ()), waiter.wanted)
        self.pump()

    def _seat(self, backend: Backend) -> Seat:
        state, group = self.state, backend.group
        return Seat(
            backend=backend.name,
            region=backend.region,
            offers=dict(backend.offers),
            slots=state.slots_of(backend.identity, backend.slots),
            group=state.group_of(group, self._groups[group]) if group else None,
        )

    def candidates(self, model: str, wanted: Wanted) -> Sequence[Seat]:
        """The seats that may take a call of this model; NoBackend when there is none."""
        pool = self.pools.get(model)
        if not pool:
            raise NoBackend(f"no backend serves the model '{model}'")
        fit = candidates(pool, wanted)
        if not fit:
            raise NoBackend(f"no backend that this caller may use serves the model '{model}'")
        return fit

    def has_other(self, model: str, wanted: Wanted) -> bool:
        """Whether a backend is left that did not fail this call yet."""
        pool = self.pools.get(model, ())
        return any(s.backend not in wanted.tried for s in candidates(pool, wanted))

    def take(self, seat: Seat, work: float) -> Lease:
        """Lease a seat that is known to be free."""
        seat.take(work)
        return Lease(self, seat, self.backends[seat.backend], work)

    def at_once(self, model: str, wanted: Wanted) -> Lease | None:
        """A slot that is free now, if nobody waits for this model; NoBackend when none ever is."""
        fit = self.candidates(model, wanted)
        if self.state.waiting.get(model):
            return None
        seat = pick(fit, wanted, self._rng)
        return self.take(seat, wanted.work) if seat is not None else None

    async def lease(
        self, model: str, wanted: Wanted, *, key: Hashable | None = None, rider: object = None
    ) -> Lease | None:
        """A slot for this call, at once or after waiting its turn; the caller bounds the wait.

        None: another call of the same `key` took this one's `rider` along (see `companions`).
        Overloaded when too many wait already.
        """
        if (lease := self.at_once(model, wanted)) is not None:
            return lease
        fit = self.candidates(model, wanted)
        line = self.state.waiting.get(model)
        if line is None:
            line = self.state.waiting[model] = deque()
        if len(line) >= self._waiting_at_most:
            raise Overloaded(f"too many calls wait for the model '{model}'; try again later")
        waiter = Waiter(self, fit, wanted, key, asyncio.get_running_loop().create_future(), rider)
        line.append(waiter)
        self.pump()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(model, waiter)
            raise

    def _withdraw(self, model: str, waiter: Waiter) -> None:
        """A waiter was cancelled.

        Out of the line, and a seat that was granted meanwhile goes on.
        """
        line = self.state.waiting.get(model)
        if line is not None and waiter in line:
            line.remove(waiter)
            if not line:
                del self.state.waiting[model]
        if waiter.granted.done() and not waiter.granted.cancelled():
            lease = waiter.granted.result()
            if lease is not None:
                lease.give_back()

    def companions(
        self, model: str, key: Hashable, choose: Callable[[Sequence[object]], Sequence[object]]
    ) -> Sequence[object]:
        """Riders of waiting calls with this key that go along; they wait no longer.

        `choose` is given all of them, oldest first, and answers those that it takes.
        """
        line = self.state.waiting.get(model)
        if line is None:
            return ()
        there = {id(w.rider): w for w in line if w.key == key and not w.granted.done()}
        taken = choose([waiter.rider for waiter in there.values()])
        for rider in taken:
            waiter = there[id(rider)]
            waiter.granted.set_result(None)
            line.remove(waiter)
        if not line:
            del self.state.waiting[model]
        return taken

    def pump(self) -> None:
        """Give free slots to those who wait; never raises, for whoever gives back calls it.

        One that was cancelled stands in its line until its task runs: it gets nothing.
        """
        for model in list(self.state.waiting):
            line = self.state.waiting[model]
            there = (waiter for waiter in list(line) if not waiter.granted.done())
            for waiter in islice(there, LOOK_AT_MOST):
                seat = pick(waiter.pool, waiter.wanted, self._rng)
                if seat is None:
                    continue
                waiter.granted.set_result(waiter.fleet.take(seat, waiter.wanted.work))
                line.remove(waiter)
            if not line:
                del self.state.waiting[model]
