"""The one door to an engine: residency is guarded here, for every call, whatever it is for.

`leasing.py` finds the slot, `foresight.py` says how long an attempt may take, `sender.py` has the
bytes that go out, `stream.py` those that come, and `trip.py` tries again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modgate.api.auth import Caller
from modgate.api.dialect import Dialect
from modgate.api.residency import may_lie
from modgate.api.select import Backend, Served
from modgate.errors import GatewayError, NoBackend, Unsupported, UpstreamTimedOut
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.foresight import Foresight
from modgate.guard import Deadline
from modgate.leasing import Leasing
from modgate.order import Order, refused
from modgate.retry import state_of
from modgate.sender import Sender
from modgate.stream import Stream
from modgate.timeouts import Timeouts
from modgate.tries import Try


class Dispatch:
    """Sends the calls of one snapshot.

    `dialects`: by modality and family.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        leasing: Leasing,
        foresight: Foresight,
        dialects: Mapping[tuple[str, str], type[Dialect]],
        sender: Sender,
        timeouts: Timeouts,
    ) -> None:
        self._fleet = fleet
        self._leasing = leasing
        self._foresight = foresight
        self._dialects = dialects
        self._sender = sender
        self._timeouts = timeouts

    def use(self, backends: Sequence[Backend]) -> None:
        """Use these backends from now on; calls under way end where they are."""
        self._sender.meet(backends)
        self._fleet.use(backends)

    async def open(self, order: Order) -> Stream:
        """A slot for the call, and its reply to read."""
        lease = await self._leasing.lease(order)
        assert lease is not None
        return await self.send(order, lease)

    async def send(self, order: Order, lease: Lease) -> Stream:
        """Send the call to the leased backend; returns when a good head of the reply has come.

        Unsupported when the backend's dialect cannot express the call: then nothing was sent.
        """
        backend, orders, foresight = lease.backend, order.each, self._foresight
        if order.members:
            lease.carry(foresight.work(order))
        deadline = Deadline(_no_answer)
        # Members of a merged call wait no longer than each would alone.
        deadline.set(deadline.now() + min([foresight.attempt_s(each, lease) for each in orders]))
        tries = self._begin(orders, lease)
        try:
            for each in orders:
                guard_residency(backend, each.draft.caller)
            dialect = self._dialect(order, backend)
            with deadline:
                answer = await self._sender.send(order, backend, dialect, tries)
            self._fleet.holding.answered(order.model.name, backend.name)
        except BaseException as error:
            deadline.disarm()
            _given_up(error, tries, lease)
            raise
        return Stream(answer, dialect, lease, tries, deadline, self._timeouts)

    def _begin(self, orders: Sequence[Order], lease: Lease) -> list[Try]:
        """Note an attempt of each of these, which share the trip."""
        tries: list[Try] = []
        best_effort = lease.why == "best_effort"
        for each in orders:
            draft, model = each.draft, each.model.name
            tried = draft.attempt(each.index, model, lease, each.call.size)
            tried.members = 0 if tries else len(orders)
            tried.waits_since_s = each.waits_since_s
            tries.append(tried)
            each.attempts += 1
            if not each.earned:
                each.earned = True
                self._fleet.earn_retry(model)
            if best_effort and draft.caller.policy.slo:  # its promise will not be kept
                draft.notes["slo"] = "best-effort"
        return tries

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


def _no_answer() -> GatewayError:
    return UpstreamTimedOut("the engine did not answer in time")


def guard_residency(backend: Backend, caller: Caller) -> None:
    """The last check before a byte leaves: a caller's data stays in its regions, on every path."""
    if not may_lie(caller.policy.regions, backend.region):
        raise NoBackend("no backend in a region that this caller may use")


def _given_up(error: BaseException, tries: Sequence[Try], lease: Lease) -> None:
    """End the attempt.

    A function of its own: a local name for the error in the frame that caught it, which the error
    keeps, would be a reference cycle.
    """
    told = refused(error) if isinstance(error, Unsupported) else error
    known = told if isinstance(told, GatewayError) else None
    for tried in tries:
        tried.end(state_of(error), known)
    lease.give_back(state_of(error), known)
