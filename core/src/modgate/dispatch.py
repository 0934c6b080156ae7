"""The one door to an engine: residency is guarded here, for every call, whatever it is for.

`Dispatch.open` leases a slot and sends; `Stream` is the reply being read; `Trip` is one call with
its attempts.  A call is tried once more, on another backend where there is one, until its first
event was fed to the relay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modgate.api.auth import Caller
from modgate.api.dialect import Dialect
from modgate.api.modality import Batching, Modality
from modgate.api.model import Model
from modgate.api.plan import Call
from modgate.api.relay import Event, Outcome, State
from modgate.api.select import Backend, Served, Target
from modgate.draft import Draft, Try
from modgate.errors import (
    Forbidden,
    GatewayError,
    ModelNotFound,
    NoBackend,
    Overloaded,
    PluginFault,
    Refused,
    Upstream,
    UpstreamFailed,
    UpstreamTimedOut,
)
from modgate.fleet.fleet import Fleet, Lease
from modgate.fleet.pick import Wanted
from modgate.guard import Deadline
from modgate.kit.sse import DONE, Splitter
from modgate.upstream.client import Answer, Client
from modgate.units import Units

TRIES = 2
REFUSAL_AT_MOST = 64 << 10
AFTER_DONE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """When the gateway gives up.  `deadlines`: modality -> phase -> affine seconds."""

    connect_s: float = 5.0
    idle_s: float = 60.0
    client_stalled_s: float = 30.0
    keep_alive_s: float = 15.0
    body_idle_s: float = 30.0
    reply_bytes: int = 64 << 20
    deadlines: Mapping[str, Mapping[str, Target]] = field(default_factory=dict)

    def seconds(self, modality: str, phase: str, size: Units) -> float:
        """The deadline of a phase for work of this size."""
        return self.deadlines[modality][phase].seconds(size)


@dataclass(slots=True, eq=False, kw_only=True)
class Order:
    """One call of one request, with all that dispatch must know of both."""

    index: int
    call: Call
    model: Model
    modality: Modality[Any]  # each modality has a config type of its own
    draft: Draft
    asked: str
    batch: Batching | None = None
    members: Sequence[Order] = ()
    tried: set[str] = field(default_factory=set)

    @property
    def caller(self) -> Caller:
        """Whose call it is."""
        return self.draft.caller

    @property
    def wanted(self) -> Wanted:
        """What the pick must know."""
        return Wanted(
            work=self.call.size.work(self.modality.weights),
            regions=self.caller.policy.regions,
            requires=self.call.requires,
            tried=frozenset(self.tried),
        )

    def batch_key(self) -> Hashable | None:
        """Calls of equal keys may share a trip: one model, one tenant, the plugin's own key."""
        key = self.batch.key(self.call) if self.batch is not None else None
        return None if key is None else (self.model.name, self.caller.tenant, key)


class Stream:
    """An engine's reply being read; it ends exactly once, and then its slot is free."""

    __slots__ = (
        "_answer",
        "_at_most",
        "_deadline",
        "_dialect",
        "_done",
        "_idle_s",
        "_lease",
        "_reply",
        "_splitter",
        "_tries",
    )

    def __init__(
        self,
        answer: Answer,
        dialect: Dialect,
        lease: Lease,
        tries: Sequence[Try],
        deadline: Deadline,
        timeouts: Timeouts,
    ) -> None:
        self._answer = answer
        self._dialect = dialect
        self._lease = lease
        self._tries = tries
        self._reply = tries[0].reply
        self._deadline = deadline
        self._idle_s = timeouts.idle_s
        self._at_most = timeouts.reply_bytes
        self._splitter = Splitter() if tries[0].reply == "sse" else None
        self._done = False

    async def next(self) -> list[Event]:
        """The next events, at least one; [] when the reply ended well."""
        if self._done:
            return []
        with self._deadline:
            events = await self._read()
        if self._reply != "whole":
            self._deadline.at = self._deadline.now() + self._idle_s
        for tried in self._tries:
            tried.saw_event()
        if not events:
            self._finish()
        return events

    async def _read(self) -> list[Event]:
        if self._reply == "whole":
            body = await self._answer.whole(self._at_most)
            self._done = True
            self._answer.release()
            events = list(self._dialect.decode(Event(body, headers=self._answer.headers)))
            self._finish()
            return events
        while data := await self._answer.read():
            if self._splitter is None:
                return list(self._dialect.decode(Event(data)))
            events = await self._split(data)
            if events or self._done:
                return events
        return self._ended()

    async def _split(self, data: bytes) -> list[Event]:
        assert self._splitter is not None
        found: list[Event] = []
        for event in self._splitter.feed(data):
            if event.data == DONE:
                await self._drain()
                found.extend(self._dialect.end(True))
                break
            found.extend(self._dialect.decode(event))
        return found

    async def _drain(self) -> None:
        """After [DONE] only the end of the body is to come; reading it saves the connection."""
        self._done = True
        self._deadline.set(self._deadline.now() + AFTER_DONE_S)
        try:
            while await self._answer.read():
                pass
        except (Upstream, UpstreamTimedOut):
            self._answer.close()

    def _ended(self) -> list[Event]:
        if self._splitter is not None and not self._splitter.end():
            raise UpstreamFailed("the engine's stream was cut inside an event")
        self._done = True
        return list(self._dialect.end(False))

    def _finish(self) -> None:
        self._done = True
        self._answer.release()
        self.close("ok")

    def close(self, state: State, error: GatewayError | None = None) -> None:
        """The attempt is over.

        Unless it ended well the connection is closed, so the engine stops.
        """
        ended = [tried.end(state, error) for tried in self._tries]
        if ended[0]:
            if state != "ok":
                self._answer.close()
            self._deadline.disarm()
            self._lease.give_back()


class Dispatch:
    """Sends calls of one snapshot.

    `clients`: by backend name; `opened(draft)`: before a request's first call.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        dialects: Mapping[tuple[str, str], type[Dialect]],
        clients: Mapping[str, Client],
        timeouts: Timeouts,
        opened: Callable[[Draft], None],
    ) -> None:
        self.fleet = fleet
        self.timeouts = timeouts
        self._dialects = dialects
        self._clients = clients
        self._opened = opened

    async def lease(
        self, order: Order, *, key: Hashable | None = None, rider: object = None
    ) -> Lease | None:
        """A slot for the call within its first deadline; None = `rider` was taken along."""
        draft = order.draft
        began = draft.elapsed()
        wait = Deadline(
            Overloaded(f"no backend of the model '{order.model.name}' became free in time")
        )
        wait.set(wait.now() + self._first_s(order))
        try:
            with wait:
                return await self.fleet.lease(order.model.name, order.wanted, key=key, rider=rider)
        finally:
            wait.disarm()
            draft.step("queue", began)

    def _first_s(self, order: Order) -> float:
        """Until the first event of a stream, or the whole of a reply that comes at once."""
        phase = "total" if order.call.reply == "whole" else "first_byte"
        return self.timeouts.seconds(order.modality.name, phase, order.call.size)

    async def send(self, order: Order, lease: Lease) -> Stream:
        """Send the call to the leased backend; the reply's head was good when this returns."""
        backend = lease.backend
        tries = [
            each.draft.attempt(each.index, backend, order.model.name)
            for each in (order, *order.members)
        ]
        deadline = Deadline(UpstreamTimedOut("the engine did not answer in time"))
        deadline.set(deadline.now() + self._first_s(order))
        try:
            guard_residency(backend, order.caller)
            dialect = self._dialect(order, backend)
            with deadline:
                answer = await self._post(order, backend, dialect, tries)
        except BaseException as error:
            for tried in tries:
                tried.end(_state_of(error), error if isinstance(error, GatewayError) else None)
            deadline.disarm()
            lease.give_back()
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
        headers = {**outgoing.headers, **order.draft.forwarded(tries[0])}
        if backend.key is not None:
            headers["Authorization"] = f"Bearer {backend.key.reveal()}"
        for each, tried in zip((order, *order.members), tries, strict=True):
            self._opened(each.draft)
            tried.reply = outgoing.reply
            tried.sent = True
        answer = await self._clients[backend.name].send(outgoing.path, outgoing.body, headers)
        for tried in tries:
            tried.status = answer.status
        if 200 <= answer.status < 300:
            return answer
        try:
            body = await answer.whole(REFUSAL_AT_MOST)
        except Upstream:
            body = b""
        answer.close()
        raise dialect.refusal(answer.status, answer.headers, body)


def guard_residency(backend: Backend, caller: Caller) -> None:
    """The last check before a byte leaves: a caller's data stays in its regions, on every path."""
    regions = caller.policy.regions
    if regions is not None and backend.region not in regions:
        raise NoBackend("no backend in a region that this caller may use")


def guard_model(model: Model | None, name: str, caller: Caller) -> Model:
    """A call of another model is judged as if the caller had asked for it."""
    if model is None or not caller.policy.sees(model.name):
        raise ModelNotFound(f"the model '{name}' does not exist or you do not have access to it")
    if not caller.policy.may_use(model.name):
        raise Forbidden(f"this key may not use the model '{name}'")
    return model


def _nothing() -> None:
    pass


def _state_of(error: BaseException) -> State:
    if isinstance(error, UpstreamTimedOut):
        return "timed_out"
    if isinstance(error, Refused):
        return "refused"
    return "failed" if isinstance(error, GatewayError) else "cancelled"


class Readable(Protocol):
    """A reply being read: of a call's own trip, or its share of a merged one."""

    async def next(self) -> list[Event]:
        """The next events; [] when the reply ended well."""
        ...

    def close(self, state: State, error: GatewayError | None = None) -> None:
        """It is over."""
        ...


Opener = Callable[[Order], Awaitable[Readable]]


class Trip:
    """One call on its way, over at most two attempts.

    `fed`: set by the run once an event went to the relay; from then on there is no retry.
    `restarted` is called when an attempt is given up, so that a lane is emptied.
    """

    __slots__ = (
        "_began_s",
        "_fleet",
        "_open",
        "_stream",
        "_tries",
        "error",
        "fed",
        "order",
        "restarted",
        "state",
    )

    def __init__(self, order: Order, opener: Opener, fleet: Fleet) -> None:
        self.order = order
        self._open = opener
        self._fleet = fleet
        self.restarted: Callable[[], None] = _nothing
        self._stream: Readable | None = None
        self._tries = 0
        self._began_s = order.draft.elapsed()
        self.fed = False
        self.state: State = "pending"
        self.error: GatewayError | None = None

    async def next(self) -> list[Event]:
        """The next events; [] when the reply ended well."""
        while True:
            try:
                if self._stream is None:
                    self._tries += 1
                    self._stream = await self._open(self.order)
                events = await self._stream.next()
            except GatewayError as error:
                self._give_up(error)
                if not self._again(error):
                    self.state, self.error = _state_of(error), error
                    raise
            except Exception as error:
                fault = PluginFault(f"{type(error).__name__} in a dialect")
                self._give_up(fault)
                self.state, self.error = "failed", fault
                raise fault from error
            else:
                if not events:
                    self.state = "ok"
                return events

    def _give_up(self, error: GatewayError) -> None:
        if self._stream is not None:
            self._stream.close(_state_of(error), error)
            self._stream = None

    def _again(self, error: GatewayError) -> bool:
        """Source: algorithms.md 5.1.  Never on a 4xx, never once fed, never when the time is up."""
        last = self.order.draft.last_try(self.order.index)
        if self.fed or self._tries >= TRIES or last is None or isinstance(error, UpstreamTimedOut):
            return False
        if not isinstance(error, Upstream | Overloaded):
            return False
        self.order.tried.add(last.backend)
        unheard = last.status is None and isinstance(error, Upstream)
        if not unheard and not self._fleet.has_other(self.order.model.name, self.order.wanted):
            return False
        self.restarted()
        return True

    def close(self) -> None:
        """Nobody wants the rest."""
        if self._stream is not None:
            self._stream.close("cancelled")
            self._stream = None
        if self.state == "pending":
            self.state = "cancelled"

    def outcome(self) -> Outcome:
        """How the call stands."""
        last = self.order.draft.last_try(self.order.index)
        return Outcome(
            state=self.state,
            backend=last.backend if last else "",
            began_s=self._began_s,
            first_s=last.first_s if last else None,
            ended_s=last.ended_s if last else None,
            error=self.error,
        )
