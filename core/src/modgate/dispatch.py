"""The one door to an engine: residency is guarded here, for every call, whatever it is for.

`Dispatch.lease` waits for a slot, `Dispatch.send` opens the upstream request; reading the reply is
`stream.py`, trying again is `trip.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import partial
from math import inf

from modgate.api.auth import Caller
from modgate.api.dialect import Dialect
from modgate.api.model import Model
from modgate.api.residency import may_lie
from modgate.api.select import Backend, Served
from modgate.disconnect import unless_abandoned
from modgate.draft import MISSED_AT_MOST, Draft
from modgate.errors import (
    Forbidden,
    GatewayError,
    ModelNotFound,
    NoBackend,
    Unsupported,
    Upstream,
    UpstreamTimedOut,
)
from modgate.fleet.claim import LEAST_WORK, Claim, Ends
from modgate.fleet.drain import drain_s
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.outlook import answers_elsewhere, is_down, keeps, soonest_s
from modgate.fleet.pick import Wanted
from modgate.fleet.terms import Terms
from modgate.goals import Goals
from modgate.guard import Deadline
from modgate.order import Elsewhere, Order, Way, refused
from modgate.retry import EXTRA, state_of
from modgate.stream import Stream
from modgate.telemetry.orca import ASKS, FORM, SILENT, Remarks
from modgate.timeouts import Timeouts, as_asked
from modgate.tries import Missed, Try
from modgate.upstream.client import Answer, Client

REFUSAL_AT_MOST = 64 << 10
REFUSAL_S = 0.02  # of its time: who waited in vain is told of the queue, and not of an engine


class Dispatch:
    """Sends calls of one snapshot.

    `client_of`: a backend's connections; `opened(draft)`: before a request's first call.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        goals: Goals,
        dialects: Mapping[tuple[str, str], type[Dialect]],
        client_of: Callable[[Backend], Client],
        timeouts: Timeouts,
        opened: Callable[[Draft], None],
        prepare: Callable[[str], Awaitable[None]],
        sign: Callable[..., str] | None = None,
        remarks: Remarks = SILENT,
    ) -> None:
        self.fleet = fleet
        self.goals = goals
        self.timeouts = timeouts
        self._dialects = dialects
        self._client_of = client_of
        self._opened = opened
        self._prepare = prepare
        self._sign = sign
        self._remarks = remarks

    def use(self, backends: Sequence[Backend]) -> None:
        """These are the engines from now on; what is under way ends where it is."""
        for backend in backends:
            self._client_of(backend)  # certificates are read here, and not by a first call
        self.fleet.use(backends)

    async def open(self, order: Order) -> Stream:
        """A slot for the call, and its reply to read."""
        lease = await self.lease(order)
        assert lease is not None
        return await self.send(order, lease)

    def _at_once(self, order: Order, wanted: Wanted) -> Lease | None:
        draft = order.draft
        began = draft.elapsed()
        if self.fleet.has_choice(order.model.name):
            self._promise(order, wanted)
        elif self.fleet.rules.adaptive and order.caller.policy.slo:
            wanted.work, wanted.watched = self._terms(order)
        else:
            wanted.work = self.work(order)
        try:
            if order.chain is not None and not order.tries:
                lease = self._elsewhere(order, order.chain, wanted)
                if lease is not None:
                    return lease
            again = order.tries > 0 or order.waited_s is not None
            return self.fleet.at_once(order.model.name, wanted, again=again)
        except GatewayError:
            self._missed(order, wanted, began)
            raise
        finally:
            draft.step("select", began)

    def _missed(self, order: Order, wanted: Wanted, began_s: float) -> None:
        draft, model = order.draft, order.model.name
        if len(draft.missed) < MISSED_AT_MOST:
            pool_state, terms = self.fleet.pool_state(model), wanted.terms
            seconds: Sequence[float] = ()
            if pool_state is not None and terms is not None:
                seconds = drain_s(pool_state.seats, wanted.work, terms)
            missed = Missed(order.index, model, wanted, pool_state, seconds, began_s)
            draft.missed = (*draft.missed, missed)

    def _elsewhere(self, order: Order, chain: Way, wanted: Wanted) -> Lease | None:
        """A slot that keeps the promise, where that comes first; Elsewhere if another model's."""
        fleet, model, now = self.fleet, order.model.name, self.fleet.now()
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
        """Whether another model's backends would answer this call."""
        return not is_down(self.fleet.pools.get(model), order.wanted, now)

    def _keeps(self, order: Order, now: float, model: str) -> bool:
        """Whether another model's backends would keep this call's promise."""
        wanted = order.wanted
        self._promise(order, wanted, model)
        waits = model in self.fleet.state.busy
        return not waits and keeps(self.fleet.pools.get(model), wanted, now)

    async def lease(
        self, order: Order, *, key: Hashable | None = None, rider: object = None
    ) -> Lease | None:
        """A slot for the call within its first deadline; None = `rider` was taken along."""
        wanted, claim = order.wanted, None
        try:
            lease = self._at_once(order, wanted)
        except NoBackend as error:
            claim = self.claim(order, wanted.work, key)
            lease = await self._held(order, wanted, claim, error)
        if lease is None:
            claim = claim or self.claim(order, wanted.work, key)
            lease = await self._queued(order, wanted, claim, rider)
        return unless_abandoned(order.draft, lease)

    async def _held(
        self, order: Order, wanted: Wanted, claim: Claim, error: NoBackend
    ) -> Lease | None:
        """What `_at_once` says when an engine is there; the error where none is waited for."""
        draft, holding, model = order.draft, self.fleet.holding, order.model.name
        waits = order.alone and holding.awaits(model, wanted) and holding.has_room(model, claim)
        if not waits:
            raise error
        began = draft.elapsed()
        if order.waited_s is None:
            order.waited_s = began
        most_s = min(claim.until - self.fleet.now(), self.fleet.rules.hold_s)
        take = partial(self._at_once, order, wanted)
        try:
            return await holding.until(take, error, model, wanted, claim, most_s)
        finally:
            draft.step("queue", began)

    async def _queued(
        self, order: Order, wanted: Wanted, claim: Claim, rider: object
    ) -> Lease | None:
        draft, fleet = order.draft, self.fleet
        began = draft.elapsed()
        if order.waited_s is None:
            order.waited_s = began
        self._missed(order, wanted, began)
        if draft.dues is None:
            draft.dues = []
        wait = Deadline(partial(fleet.waiting.never_free, order.model.name, wanted, claim))
        wait.set(wait.now() + claim.until - fleet.now())
        try:
            with wait:
                return await fleet.wait(order.model.name, wanted, claim, rider, draft.dues)
        finally:
            wait.disarm()
            draft.step("queue", began)

    def claim(self, order: Order, work: float = LEAST_WORK, key: Hashable | None = None) -> Claim:
        """What a queue must know; worked out only where a call has to wait."""
        draft, policy = order.draft, order.caller.policy
        first_s = inf if draft.begun else as_asked(draft.request_headers, inf)
        left_s: dict[Ends, float] = {
            "timeouts": self._first_s(order),
            "patience": self.fleet.rules.patience_s.get(policy.slo, inf),
            "request": min(draft.due_s, first_s) - draft.elapsed() - REFUSAL_S,
        }
        now, ends = self.fleet.now(), min(left_s, key=left_s.__getitem__)
        return Claim(
            tenant=order.caller.tenant,
            slo=policy.slo,
            weight=policy.weight,
            request=draft.request_id,
            modality=order.modality.name,
            work=max(work, LEAST_WORK),
            body_bytes=order.call.body.held_bytes,
            since=now,
            until=now + left_s[ends],
            ends=ends,
            begun=draft.begun,
            key=key,
        )

    def _promise(self, order: Order, wanted: Wanted, model: str = "") -> None:
        wanted.work, wanted.terms = self._terms(order, model)
        if wanted.terms.unmet == "refuse" and order.draft.begun:
            wanted.terms.unmet = "best_effort"  # what was done for it would be lost, and billed
        wanted.tenant, wanted.size = order.caller.tenant, order.call.size

    def _terms(self, order: Order, model: str = "") -> tuple[float, Terms]:
        return self.goals.terms(
            order.call,
            model=model or order.model.name,
            modality=order.modality,
            tenant=order.caller.tenant,
            slo=order.caller.policy.slo,
        )

    def work(self, order: Order) -> float:
        """A call's work where nothing is promised."""
        return self.goals.work(order.call, model=order.model.name, modality=order.modality)

    def _first_s(self, order: Order) -> float:
        """Until the first event of a stream, or the whole of a reply that comes at once."""
        phase = "total" if order.call.reply == "whole" else "first_byte"
        return self.timeouts.seconds(order.modality.name, phase, order.call.size)

    def _attempt_s(self, order: Order, lease: Lease) -> float:
        """Of one attempt: what is left of the request may be for another engine.

        Its promise or the file says how long an engine is waited for, if another one answers.  A
        call that was late once has what is left: it is not tried a third time.
        """
        timeouts, name, size = self.timeouts, order.modality.name, order.call.size
        whole_s, patience_s = self._first_s(order), lease.patience_s
        if name in timeouts.attempts and order.call.reply == "whole":
            patience_s = min(patience_s, timeouts.seconds(name, "attempt", size))
        if patience_s >= whole_s or order.tries >= EXTRA or "late" in order.failures:
            return whole_s
        pool, now = self.fleet.pools.get(order.model.name), self.fleet.now()
        elsewhere = answers_elsewhere(pool, order.wanted, lease.backend.name, now)
        return patience_s if elsewhere else whole_s

    def needs_s(self, order: Order) -> float:
        """What an engine that did not fail this call will most likely take for it."""
        wanted = order.wanted
        self._promise(order, wanted)
        return soonest_s(self.fleet.pools.get(order.model.name), wanted)

    async def send(self, order: Order, lease: Lease) -> Stream:
        """Send the call to the leased backend; the reply's head was good when this returns.

        Unsupported when its dialect cannot say the call: then nothing was sent.
        """
        backend, orders = lease.backend, order.each
        model = order.model.name
        tries = [e.draft.attempt(e.index, model, lease, e.call.size) for e in orders]
        for at, tried in enumerate(tries):
            tried.members = 0 if at else len(tries)
            tried.waited_s = orders[at].waited_s
        if lease.why == "best_effort":
            _note(orders)
        deadline = Deadline(_no_answer)
        # Of a merged call it is the shortest of its members': nobody waits longer than alone.
        deadline.set(deadline.now() + min([self._attempt_s(each, lease) for each in orders]))
        try:
            for each in orders:
                each.tries += 1
                if each.tries == 1:
                    self.fleet.state.retries_of(order.model.name).earn(self.fleet.now())
                guard_residency(backend, each.draft.caller)
            dialect = self._dialect(order, backend)
            with deadline:
                if backend.local:
                    await self._prepare(backend.name)
                answer = await self._post(order, backend, dialect, tries)
            self.fleet.holding.answered(order.model.name, backend.name)
        except BaseException as error:
            deadline.disarm()
            _given_up(error, tries, lease)
            raise
        return Stream(answer, dialect, lease, tries, deadline, self.timeouts)

    def _dialect(self, order: Order, backend: Backend) -> Dialect:
        kind = self._dialects.get((order.modality.name, backend.family))
        if kind is None:
            raise NoBackend(
                f"no dialect of {order.modality.name} for engines of family '{backend.family}'"
            )
        served = Served(
            asked=order.asked, model=order.model.name, name=backend.serves[order.model.name]
        )
        return kind(order.call, served)

    async def _post(
        self, order: Order, backend: Backend, dialect: Dialect, tries: Sequence[Try]
    ) -> Answer:
        outgoing = dialect.encode()
        headers = {**outgoing.headers, **order.draft.forwarded(tries[0], order.each[0].tries)}
        if backend.key is not None or backend.sign:
            self._authorize(headers, order, backend, tries[0])
        asks = outgoing.reply == "whole" and self._remarks.asks(backend)
        if asks:
            headers[ASKS] = FORM
        for each, tried in zip(order.each, tries, strict=True):
            self._opened(each.draft)
            tried.reply = outgoing.reply
            tried.sent = True
        answer = await self._client_of(backend).send(outgoing.path, outgoing.body, headers)
        for tried in tries:
            tried.status = answer.status
        if asks:
            self._remarks.hear(backend, answer.headers)
        if 200 <= answer.status < 300:
            return answer
        try:
            body = await answer.whole(REFUSAL_AT_MOST)
        except Upstream:
            body = b""
        answer.close()
        raise dialect.refusal(answer.status, answer.headers, body)

    def _authorize(
        self, headers: dict[str, str], order: Order, backend: Backend, tried: Try
    ) -> None:
        """With the engine's own key, or a token of ours."""
        if backend.key is not None:
            headers["Authorization"] = f"Bearer {backend.key.reveal()}"
        elif self._sign is not None:
            token = self._sign(
                backend=backend.name,
                tenant=order.caller.tenant,
                request_id=order.draft.request_id,
                attempt=tried.span,
            )
            headers["Authorization"] = f"Bearer {token}"


def _note(orders: Sequence[Order]) -> None:
    """Callers that have a class are told that nobody will keep its promise."""
    for order in orders:
        if order.caller.policy.slo:
            order.draft.notes["slo"] = "best-effort"


def _no_answer() -> GatewayError:
    return UpstreamTimedOut("the engine did not answer in time")


def guard_residency(backend: Backend, caller: Caller) -> None:
    """The last check before a byte leaves: a caller's data stays in its regions, on every path."""
    if not may_lie(caller.policy.regions, backend.region):
        raise NoBackend("no backend in a region that this caller may use")


def guard_model(model: Model | None, name: str, caller: Caller | None) -> Model:
    """A call of another model is judged as if the caller had asked for it.

    None: the operator did, so it takes no right of the caller's.
    """
    if model is None or (caller is not None and not caller.policy.sees(model.name)):
        raise ModelNotFound(f"the model '{name}' does not exist or you do not have access to it")
    if caller is not None and not caller.policy.may_use(model.name):
        raise Forbidden(f"this key may not use the model '{name}'")
    return model


def _given_up(error: BaseException, tries: Sequence[Try], lease: Lease) -> None:
    """The attempt is over.

    A function of its own: a name for the error in the frame that caught it would be a circle.
    """
    told = refused(error) if isinstance(error, Unsupported) else error
    known = told if isinstance(told, GatewayError) else None
    for tried in tries:
        tried.end(state_of(error), known)
    lease.give_back(state_of(error), known)
