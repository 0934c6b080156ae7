"""Finding a call its slot: at once, in line, when an engine comes, or at another model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from modgate.disconnect import unless_abandoned
from modgate.draft import MISSED_AT_MOST
from modgate.errors import GatewayError, NoBackend
from modgate.fleet.claim import Claim
from modgate.fleet.drain import drain_s
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.outlook import is_down, keeps
from modgate.fleet.pick import Wanted
from modgate.foresight import Foresight
from modgate.guard import Deadline
from modgate.order import Elsewhere, Order, Way
from modgate.tries import Missed


class Leasing:
    """Finds a slot for each call, by what the goals of its SLO class promise."""

    def __init__(self, fleet: Fleet, foresight: Foresight) -> None:
        self._fleet = fleet
        self._foresight = foresight

    async def lease(
        self, order: Order, *, key: Hashable | None = None, rider: object = None
    ) -> Lease | None:
        """A slot for the call before its wait must end.

        None: another call of the same `key` took `rider` along.
        """
        wanted, claim = order.new_wanted(), None
        self._foresight.foresee(order, wanted)
        try:
            lease = self._at_once(order, wanted)
        except NoBackend as error:
            claim = self._foresight.claim(order, wanted.work, key)
            lease = await self._held(order, wanted, claim, error)
        if lease is None:
            claim = claim or self._foresight.claim(order, wanted.work, key)
            lease = await self._queued(order, wanted, claim, rider)
        return unless_abandoned(order.draft, lease)

    def take_along(
        self, order: Order, key: Hashable, choose: Callable[[Sequence[object]], Sequence[object]]
    ) -> Sequence[object]:
        """Take along what `choose` says of the riders that wait with this key; returns these."""
        return self._fleet.waiting.companions(order.model.name, key, choose)

    def _at_once(self, order: Order, wanted: Wanted) -> Lease | None:
        """A slot without a wait, where one is free."""
        draft = order.draft
        began = draft.elapsed()
        try:
            if order.chain is not None and not order.attempts:
                lease = self._unless_elsewhere(order, order.chain, wanted)
                if lease is not None:
                    return lease
            counted = order.attempts > 0 or order.waits_since_s is not None
            return self._fleet.at_once(order.model.name, wanted, counted=counted)
        except GatewayError:
            self._note_missed(order, wanted, began)
            raise
        finally:
            draft.step("select", began)

    def _note_missed(self, order: Order, wanted: Wanted, began_s: float) -> None:
        """Note that no slot was free, for `modgate explain`."""
        draft, model = order.draft, order.model.name
        if len(draft.missed) < MISSED_AT_MOST:
            pool_state, terms = self._fleet.pool_state(model), wanted.terms
            seconds: Sequence[float] = ()
            if pool_state is not None and terms is not None:
                seconds = drain_s(pool_state.seats, wanted.work, terms)
            missed = Missed(order.index, model, wanted, pool_state, seconds, began_s)
            draft.missed = (*draft.missed, missed)

    def _unless_elsewhere(self, order: Order, chain: Way, wanted: Wanted) -> Lease | None:
        """A slot that keeps the promise; None: the call takes what there is.

        Elsewhere where another model should take it, because its own is down or would be late.
        """
        fleet, model, now = self._fleet, order.model.name, self._fleet.now()
        if is_down(fleet.pools.get(model), wanted, now):
            other = chain.first("unavailable", partial(self._is_up, order, now))
            if other is not None:
                raise Elsewhere(other, "unavailable")
        if wanted.terms is None or not wanted.terms.away:
            return None
        if (lease := fleet.before_fallback(model, wanted)) is None:
            other = chain.first("unmet", partial(self._keeps, order, now))
            if other is not None:
                raise Elsewhere(other, "unmet")
        return lease

    def _is_up(self, order: Order, now: float, model: str) -> bool:
        """Whether a backend of another model would answer this call."""
        return not is_down(self._fleet.pools.get(model), order.new_wanted(), now)

    def _keeps(self, order: Order, now: float, model: str) -> bool:
        """Whether a backend of another model would keep this call's promise."""
        wanted = order.new_wanted()
        self._foresight.promise(order, wanted, model)
        waits = model in self._fleet.state.busy
        return not waits and keeps(self._fleet.pools.get(model), wanted, now)

    async def _held(
        self, order: Order, wanted: Wanted, claim: Claim, error: NoBackend
    ) -> Lease | None:
        """A slot once there is an engine; raises `error` where none may come."""
        holding, model = self._fleet.holding, order.model.name
        waits = order.alone and holding.awaits(model, wanted) and holding.has_room(model, claim)
        if not waits:
            raise error
        until = min(claim.until, self._fleet.now() + self._fleet.rules.hold_s)

        def take() -> Lease | None:
            nonlocal error
            self._foresight.foresee(order, wanted)  # by the engines that are there now
            try:
                return self._at_once(order, wanted)
            except NoBackend as later:
                error = later
                raise

        with self._waits(order, until, lambda: error):
            return await holding.until(take, model, wanted, claim)

    async def _queued(
        self, order: Order, wanted: Wanted, claim: Claim, rider: object
    ) -> Lease | None:
        draft, fleet, model = order.draft, self._fleet, order.model.name
        self._note_missed(order, wanted, draft.elapsed())
        if draft.dues is None:
            draft.dues = []
        late = partial(fleet.waiting.timed_out, model, wanted, claim)
        with self._waits(order, claim.until, late):
            return await fleet.wait(model, wanted, claim, rider, draft.dues)

    @contextmanager
    def _waits(
        self, order: Order, until: float, late: Callable[[], GatewayError]
    ) -> Iterator[None]:
        """A wait for a slot, which ends at `until` (the fleet's time) with the error that `late`
        makes.

        Where the loop is late the request's own deadline may come first; it ends with the same
        error.
        """
        draft = order.draft
        began = draft.elapsed()
        if order.waits_since_s is None:
            order.waits_since_s = began
        wait = Deadline(late)
        wait.set(wait.now() + until - self._fleet.now())
        draft.waits[order.index] = late
        try:
            with wait:
                yield
        finally:
            draft.waits.pop(order.index, None)
            wait.disarm()
            draft.step("queue", began)
