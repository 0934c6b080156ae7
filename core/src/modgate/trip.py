"""One call with its attempts.

Tried once more, elsewhere if possible, until its first event was fed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from modgate.api.relay import Event, Outcome, State
from modgate.dispatch import Order, state_of
from modgate.errors import (
    GatewayError,
    ModelLoading,
    Overloaded,
    PluginFault,
    Unsupported,
    Upstream,
    UpstreamTimedOut,
)
from modgate.fleet.fleet import Fleet
from modgate.stream import Push

TRIES = 2


class Readable(Protocol):
    """A reply being read: of a call's own trip, or its share of a merged one."""

    async def next(self) -> list[Event]:
        """The next events; [] when the reply ended well.  Unsupported: see `dispatch._encoded`."""
        ...

    async def flow(self, push: Push) -> None:
        """Give events to `push` as they come, while it wants more; `next` tells the rest."""
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
                events = await (self._stream or await self._opened()).next()
            except Unsupported:
                self.state = "refused"
                raise
            except GatewayError as error:
                if not self._again(error):
                    raise
            except Exception as error:
                fault = _fault(error)
                self._failed(fault)
                raise fault from error
            else:
                if not events:
                    self.state = "ok"
                return events

    async def _opened(self) -> Readable:
        if self.error is not None:
            raise self.error  # spoilt meanwhile: nothing is opened for it again
        self._tries += 1
        self._stream = await self._open(self.order)
        return self._stream

    async def flow(self, push: Push) -> None:
        """Give the events of a call that was fed to `push` as they come; `next` tells the rest."""
        assert self._stream is not None, "something was fed"
        try:
            await self._stream.flow(push)
        except Upstream as error:
            self._failed(error)
            raise
        except GatewayError:
            raise  # ours: the attempt is cut, not failed
        except Exception as error:
            fault = _fault(error)
            self._failed(fault)
            raise fault from error

    def _give_up(self, error: GatewayError) -> None:
        if self._stream is not None:
            self._stream.close(state_of(error), error)
            self._stream = None

    def _again(self, error: GatewayError) -> bool:
        """Whether the call is tried once more: never once it was fed."""
        self._give_up(error)
        if self.fed or self._tries >= TRIES or not again([self.order], error, self._fleet):
            self._failed(error)
            return False
        self.restarted()
        return True

    def _failed(self, error: GatewayError) -> None:
        self._give_up(error)
        self.state, self.error = state_of(error), error

    def spoilt(self, error: GatewayError) -> None:
        """What it said cannot be relayed: it failed, however well it looked till then."""
        self._failed(error)
        if (last := self.order.draft.last_try(self.order.index)) is not None:
            last.spoilt(self.state, error)

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


def again(orders: Sequence[Order], error: GatewayError, fleet: Fleet) -> bool:
    """Whether what these orders shared is tried once more: never on a 4xx, nor when time is up.

    Where it failed is written into them.  Source: algorithms.md 5.1.
    """
    first = orders[0]
    last = first.draft.last_try(first.index)
    if first.tries >= TRIES or last is None or isinstance(error, UpstreamTimedOut):
        return False
    if not isinstance(error, Upstream | Overloaded | ModelLoading):
        return False
    for order in orders:
        order.tried.add(last.backend)
    unheard = last.status is None and isinstance(error, Upstream)
    return unheard or fleet.has_other(first.model.name, first.wanted)


def _fault(error: Exception) -> GatewayError:
    return PluginFault(f"{type(error).__name__} in a dialect")


def _nothing() -> None:
    pass
