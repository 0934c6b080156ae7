"""One call over all its attempts.

A call that failed is tried again, on another backend if possible, until its first event was fed to
the relay: `retrying.py` says whether and when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from modgate.api.relay import Event, Outcome, State
from modgate.errors import BadReply, GatewayError, PluginFault, Unsupported, Upstream
from modgate.faults import raised
from modgate.order import Order
from modgate.retry import state_of
from modgate.retrying import Retrying
from modgate.stream import Push
from modgate.tracebacks import let_go


class Readable(Protocol):
    """A reply that can be read: a call's own, or its share of a merged one."""

    async def next(self) -> list[Event]:
        """The next events; [] when the reply ended well.  Unsupported: see `Order.final_error`."""
        ...

    async def flow(self, push: Push) -> None:
        """Give events to `push` as they come, while it wants more; `next` has the rest."""
        ...

    def close(self, state: State, error: GatewayError | None = None) -> None:
        """The reply is not read any further."""
        ...


Opener = Callable[[Order], Awaitable[Readable]]


class DialectFault(PluginFault):
    """What a dialect raised, or broke by an answer that is none.

    `dialect`: modality and family, for its plugin may be another one than the modality's.
    """

    def __init__(self, error: BaseException, order: Order) -> None:
        last = order.draft.last_try(order.index)
        self.dialect = (order.modality.name, last.family if last is not None else "")
        name, family = self.dialect
        super().__init__(f"{type(error).__name__} in the dialect {family} of {name}")


class Trip:
    """One call over one attempt or more.

    `fed`: an event went to the relay; from then on there is no retry.  `restarted`: called before
    each retry, so that what the lane holds of the attempt is dropped.  `bill`: bills the reply of
    a call that the relay's usage does not count.
    """

    __slots__ = (
        "_began_s",
        "_open",
        "_retrying",
        "_stream",
        "bill",
        "error",
        "fed",
        "order",
        "restarted",
        "state",
    )

    def __init__(self, order: Order, opener: Opener, retrying: Retrying) -> None:
        self.order = order
        self._open = opener
        self._retrying = retrying
        self.restarted: Callable[[], None] = _nothing
        self.bill: Callable[[Sequence[Event]], None] | None = None
        self._stream: Readable | None = None
        self._began_s = order.draft.elapsed()
        self.fed = False
        self.state: State = "pending"
        self.error: GatewayError | None = None

    async def next(self) -> list[Event]:
        """The next events; [] when the reply ended well."""
        while True:
            try:
                stream = self._stream = self._stream or await self._opening()
                events = await stream.next()
            except (GatewayError, Unsupported) as error:
                await self._retry_or_raise(error)
            except raised() as error:
                raise self._fault(error) from error
            else:
                if not events:
                    self.state = "ok"
                return events

    def _opening(self) -> Awaitable[Readable]:
        if self.error is not None:
            raise self.error  # it was spoilt: nothing is opened for it again
        return self._open(self.order)

    async def flow(self, push: Push) -> None:
        """See `Readable.flow`; only of a call that was fed."""
        assert self._stream is not None, "something was fed"
        try:
            await self._stream.flow(push)
        except Upstream as error:
            self._failed(error)
            raise
        except GatewayError:
            raise  # not the engine's fault: the attempt is cut, and has not failed
        except raised() as error:
            raise self._fault(error) from error

    def _fault(self, error: BaseException) -> DialectFault:
        fault = DialectFault(error, self.order)
        self._failed(fault)
        return fault

    def _give_up(self, error: GatewayError | Unsupported) -> None:
        if self._stream is not None:
            known = error if isinstance(error, GatewayError) else None
            self._stream.close(state_of(error), known)
            self._stream = None

    async def _retry_or_raise(self, error: GatewayError | Unsupported) -> None:
        """Wait for the next attempt, if there is one; else raise the error that ends the call."""
        self._give_up(error)
        orders, pause = (self.order,), None
        if not self.fed and not self.order.draft.abandoned:
            pause = self._retrying.pause_s(orders, error)
        if pause is None:
            final = self.order.final_error(error)
            self._failed(final)
            raise final
        let_go([error])
        self.restarted()
        if pause:
            await self._retrying.pause(orders, pause)

    def _failed(self, error: GatewayError | Unsupported) -> None:
        self._give_up(error)
        self.state = state_of(error)
        self.error = error if isinstance(error, GatewayError) else None

    def feeding(self, events: Sequence[Event]) -> None:
        """These go to the relay now."""
        self.fed = True
        if self.bill is not None:
            try:
                self.bill(events)
            except BadReply as error:
                self.spoilt(error)
                raise

    def spoilt(self, error: GatewayError) -> None:
        """The relay could not use the reply: the call failed, though its attempt ended well."""
        self._failed(error)
        if (last := self.order.draft.last_try(self.order.index)) is not None:
            last.spoilt(self.state, error)

    def close(self) -> None:
        """The rest is not wanted; the attempt under way is cancelled."""
        if self.state == "pending":
            self.state = "cancelled"
            if self._stream is not None:
                self._stream.close("cancelled")
        self._stream = None

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


def _nothing() -> None:
    pass
