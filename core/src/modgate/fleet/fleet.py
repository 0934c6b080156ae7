"""Pools of seats by model: slots for calls, at once or when it is their turn (`waiting.py`)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from math import inf
from time import monotonic

from modgate.api.select import Backend
from modgate.errors import GatewayError, NoBackend, Overloaded
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.concurrency import Watch
from modgate.fleet.drain import drain_s
from modgate.fleet.ejection import Ejection
from modgate.fleet.holding import Awaited, Holding
from modgate.fleet.lease import Ended, Lease
from modgate.fleet.outlook import free_s
from modgate.fleet.panel import Panel
from modgate.fleet.pick import FITS, Choice, Wanted
from modgate.fleet.pool import Pool
from modgate.fleet.pool_state import PoolState
from modgate.fleet.preferences import Preferences
from modgate.fleet.promise import Promise
from modgate.fleet.promise_record import EXPLORE_S
from modgate.fleet.rng import Rng
from modgate.fleet.shared_name import shared_name
from modgate.fleet.slots import Seat, seed_of
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms
from modgate.fleet.view import View
from modgate.fleet.waiting import Due, Waiter, Waiting, shape_of

NO_PREFERENCE = Preferences()
RULES = QueueRules()
NO_PANELS: Mapping[str, Panel] = {}

log = logging.getLogger(__name__)


class Fleet:
    """The backends of one snapshot over the State that all snapshots share.

    `use` changes them while requests run, because engines are discovered.  `groups`: the limits of
    groups of slots.  `weighed`: models with a choice even at one backend: a fallback to another
    model.  `awaited`: engines that discoverers may find.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        state: FleetState,
        *,
        groups: Mapping[str, int],
        rng: Rng | None = None,
        now: Callable[[], float] = monotonic,
        rules: QueueRules = RULES,
        preferences: Preferences = NO_PREFERENCE,
        panels: Mapping[str, Panel] = NO_PANELS,
        weighed: Collection[str] = (),
        awaited: Sequence[Awaited] = (),
    ) -> None:
        self.state = state
        self.now = now
        self._groups = groups
        self._rng: Rng = rng or random
        self._preferences = preferences
        self._panels = panels
        self.rules = rules
        self.waiting = Waiting(
            state.lines,
            state.busy,
            rules=rules,
            rng=self._rng,
            now=now,
            saw_depth=self._saw_depth,
            free_s=self._free_s,
        )
        self.holding = Holding(awaited, rules)
        self._weighed = weighed
        self._tried_late: dict[str, float] = {}
        self.backends: Mapping[str, Backend] = {}
        self.pools: Mapping[str, Pool] = {}
        self._ejection = Ejection(self._rng)
        self.use(backends)

    def use(self, backends: Sequence[Backend]) -> None:
        """Use these backends from now on; waiting calls may go to new ones at once.

        Calls in flight at others end where they are.
        """
        serving = serving_of(backends)
        factors = self._preferences.factors(backends)
        chosen = {
            backend.name
            for model, each in serving.items()
            if len(each) > 1 or model in self._weighed
            for backend in each
        }
        self.backends = {backend.name: backend for backend in backends}
        self.pools = {
            model: Pool(
                [self._seat(b, model, factors[b.name], b.name in chosen) for b in each],
                panel=self._panels.get(model),
            )
            for model, each in serving.items()
        }
        for model, pool in self.pools.items():
            if (before := self.state.pools.get(model)) is not None:
                pool.follow(before, self.now())
        self.state.pools = self.pools
        self._ejection.pools_of = {
            backend.name: [self.pools[model] for model in backend.serves] for backend in backends
        }
        self.waiting.pump()
        self.holding.changed()

    def _seat(self, backend: Backend, model: str, factor: float, judged: bool) -> Seat:
        state, identity, name = self.state, backend.identity, backend.serves[model]
        group, most = backend.group, max(backend.slots, backend.slots_at_most)
        slots = state.slots_of(identity, backend.slots, most if self.rules.adaptive else None)
        standing = state.standing_of(identity, name)
        view = None
        if model in self._panels:
            view = View(backend, slots, standing, self._preferences.prices.get(backend.name))
        return Seat(
            backend=backend.name,
            region=backend.region,
            offers=dict(backend.offers),
            slots=slots,
            group=state.group_of(group, self._groups[group]) if group else None,
            health=state.health_of(identity),
            standing=standing,
            beside=tuple(
                state.standing_of(identity, other)
                for other in sorted({*backend.serves.values()} - {name})
            ),
            factor=factor,
            away_s=self._preferences.away.get(backend.region, 0.0),
            judged=judged,
            seed=seed_of(identity),
            key=shared_name(backend),
            model=name,
            draining=backend.draining,
            tally=state.line_of(model).tally,
            view=view,
        )

    def _saw_depth(self, modality: str, calls: int) -> None:
        self.state.saw_depth(modality, calls)

    def _free_s(self, model: str, wanted: Wanted) -> float:
        rate = self.state.line_of(model).tally.rate
        return free_s(self.pools.get(model), wanted, rate, self.now())

    def candidates(self, model: str, wanted: Wanted) -> Sequence[Seat]:
        """The seats that may take a call of this model; NoBackend when there is none."""
        pool = self.pools.get(model)
        if pool is None:
            raise NoBackend(f"no backend serves the model '{model}'")
        fit = pool.candidates(wanted)
        if not fit:
            raise NoBackend(f"no backend that this caller may use serves the model '{model}'")
        return fit

    def has_choice(self, model: str) -> bool:
        """Whether there is a choice to make, so that terms are worth working out."""
        pool = self.pools.get(model)
        return pool is not None and (len(pool.seats) > 1 or model in self._weighed)

    def twins(self, model: str, name: str) -> Sequence[str]:
        """This backend, and those whose dialect and model name are the same."""
        one = self.backends.get(name)
        if one is None:
            return (name,)
        words = one.family, one.serves.get(model)
        alike = [b for b in self.backends.values() if (b.family, b.serves.get(model)) == words]
        return [each.name for each in alike]

    def learn(self, model: str, used: Mapping[str, int], *, waited: bool = False) -> None:
        """Learn what a call of this model took, by full unit name.

        Without a choice of backends only the first call counts, and those that waited.
        """
        if waited or model not in self.state.expected or self.has_choice(model):
            self.state.learn(model, used)

    def earn_retry(self, model: str) -> None:
        """A call went out for the first time: it adds a part of a retry to what the pool has."""
        self.state.retries_of(model).earn(self.now())

    def may_retry(self, model: str) -> bool:
        """Take one of the retries that the pool has left; False = it has none."""
        return self.state.retries_of(model).spend(self.now())

    def _take(self, model: str, seats: Sequence[Seat], wanted: Wanted) -> Lease | None:
        """The best slot of these for this call now; None = none is free, or worth it."""
        now, pool = self.now(), self.pools[model]
        choice = pool.choose(seats, wanted, now, self._rng) if seats else None
        if choice is not None and choice.why == "best_effort" and _late(choice, wanted):
            # An idle engine is tried in spite of its prediction, or it never would be again.
            idle = [seat for seat in seats if seat.slots.taken + seat.slots.elsewhere == 0]
            choice = pool.choose(idle, wanted, now, self._rng) if idle else None
            if choice is not None:
                choice.passed = (("in_hand", idle), *choice.passed)
        return self._leased(choice, wanted, now) if choice is not None else None

    def _leased(self, choice: Choice, wanted: Wanted, now: float) -> Lease:
        seat, promise = choice.seat, None
        if wanted.terms is not None:
            promise = Promise(choice, wanted.work, wanted.terms, now)
        else:
            seat.take(wanted.work)
        watch, watched = None, wanted.terms or wanted.watched
        if watched is not None and watched.said and seat.slots.concurrency is not None:
            watch = Watch(
                now,
                whole=watched.phase == "total",
                target_s=watched.target_s,
                between_s=watched.between_s,
            )
        return Lease(self.backends[seat.backend], wanted, choice, promise, self, watch)

    def pool_state(self, model: str) -> PoolState | None:
        """How the seats of a model stand now; None = it has none."""
        pool = self.pools.get(model)
        return pool.pool_state(self.now()) if pool is not None else None

    def at_once(self, model: str, wanted: Wanted, *, counted: bool = False) -> Lease | None:
        """A slot that is free now, if no call waits for this model; None = wait for one.

        NoBackend where no backend may ever take the call.  Overloaded where none will keep the
        promise and the class says to refuse then.  `counted`: the call's work is counted already.
        """
        if not counted:
            line = self.state.line_of(model)
            line.tally.offered += wanted.work  # also where the model has no engine
        seats = self.candidates(model, wanted)
        terms = wanted.terms
        if terms is not None and terms.unmet == "refuse":  # it never waits, so it passes none
            if (lease := self._take(model, seats, wanted)) is None:
                raise _too_late(seats, wanted.work, terms)
            return lease
        return None if model in self.state.busy else self._take(model, seats, wanted)

    def before_fallback(self, model: str, wanted: Wanted) -> Lease | None:
        """A slot where the promise will be kept, or nearly; None: another model may do better.

        Now and then an idle engine is tried in spite of its prediction, or it would never be
        learned that it is in time again.
        """
        terms, seats = wanted.terms, self.candidates(model, wanted)
        if terms is None or model in self.state.busy:
            return None
        now, pool = self.now(), self.pools[model]
        choice = pool.choose(seats, wanted, now, self._rng)
        if choice is None:
            return None
        if choice.why == "best_effort" and choice.predicted > terms.sooner:
            idle = [seat for seat in seats if seat.slots.taken + seat.slots.elsewhere == 0]
            if not idle or now - self._tried_late.get(model, -inf) < EXPLORE_S:
                return None
            self._tried_late[model] = now
            choice = pool.choose(idle, wanted, now, self._rng)
        return self._leased(choice, wanted, now) if choice is not None else None

    def in_turn(self, model: str, wanted: Wanted) -> Lease | None:
        """A slot for a waiting call whose turn it is; its candidates may have changed since."""
        pool = self.pools.get(model)
        return self._take(model, pool.candidates(wanted), wanted) if pool else None

    def wait(
        self,
        model: str,
        wanted: Wanted,
        claim: Claim,
        rider: object = None,
        dues: list[Due] | None = None,
    ) -> Awaitable[Lease | None]:
        """A slot when it is the call's turn; whoever awaits it bounds the wait.

        None: another call of the same key took `rider` along.  Overloaded where it may not wait.
        """
        return self.waiting.wait(
            Waiter(
                fleet=self,
                model=model,
                wanted=wanted,
                claim=claim,
                granted=asyncio.get_running_loop().create_future(),
                shape=shape_of(wanted, filtered=model in self._panels),
                rider=rider,
                dues=dues,
            ),
            self.state.line_of(model),
        )

    def ended(self, seat: Seat, ended: Ended, error: GatewayError | None, now: float) -> None:
        """A call at this seat ended: what that says of its engine, and who is next."""
        if seat.judged:
            if error is None and ended == "ok":
                if seat.health.succeeded(now):
                    log.info("backend answers again", extra={"backend": seat.backend})
            else:
                self._ejection.failed(seat, error, now)
        if self.state.busy:
            self.waiting.pump()

    def spoilt(self, seat: Seat) -> None:
        """A reply of this seat ended well, but is unusable."""
        if seat.judged:
            self._ejection.spoilt(seat, self.now())


def serving_of(backends: Sequence[Backend]) -> Mapping[str, Sequence[Backend]]:
    """The backends of each model; one that drains is last, and only where its region has no other.

    `pick.candidates` still passes it over for callers that may use another region.
    """
    ready: dict[str, list[Backend]] = {}
    last: dict[str, list[Backend]] = {}
    for backend in backends:
        for model in backend.serves:
            (last if backend.draining else ready).setdefault(model, []).append(backend)
    for model, leaving in last.items():
        regions = {each.region for each in ready.get(model, ())}
        ready.setdefault(model, []).extend(b for b in leaving if b.region not in regions)
    return ready


def _late(choice: Choice, wanted: Wanted) -> bool:
    """Whether a call waits, or is refused, rather than go where it will be so late."""
    terms = wanted.terms
    return terms is not None and terms.unmet != "best_effort" and choice.predicted > terms.late


def _too_late(seats: Sequence[Seat], work: float, terms: Terms) -> Overloaded:
    """The refusal; its Retry-After is when the shortest line is short enough again."""
    error = Overloaded("no backend would answer within this caller's promise; try again later")
    error.retry_after_s = max(1.0, min(drain_s(seats, work, terms)) - FITS * terms.target_s)
    return error
