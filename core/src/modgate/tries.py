"""The attempts of a request's calls while they live; the receipt keeps an `Attempt` of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from modgate.api.plan import ReplyKind
from modgate.api.relay import State
from modgate.api.sink import Attempt
from modgate.errors import GatewayError
from modgate.fleet.pick import Choice, Wanted
from modgate.fleet.pool_state import PoolState
from modgate.fleet.promise import Promise
from modgate.units import NOTHING, Units


class Try(msgspec.Struct, kw_only=True, eq=False):
    """One attempt while it lives.

    `zero`: when the request began, by `now`.  `waited_s`: since when its call waited, if it had to.
    `size`: of its call; `units`: what that did cost, of a side call.  `wanted`, `choice`,
    `promise`: why it went there.
    """

    call: int
    backend: str
    region: str
    family: str
    model: str
    span: str
    now: Callable[[], float]
    zero: float
    began_s: float
    reply: ReplyKind = "whole"
    sent: bool = False
    first_s: float | None = None
    ended_s: float | None = None
    state: State = "pending"
    status: int | None = None
    error: str = ""
    members: int = 1
    waited_s: float | None = None
    size: Units = NOTHING
    units: Mapping[str, int] = {}
    wanted: Wanted | None = None
    choice: Choice | None = None
    promise: Promise | None = None

    def saw_event(self) -> None:
        """The first event came."""
        if self.first_s is None:
            self.first_s = self.now() - self.zero

    def end(self, state: State, error: GatewayError | None = None) -> bool:
        """The attempt ended; False when it had ended before."""
        if self.ended_s is not None:
            return False
        self.ended_s = self.now() - self.zero
        self.state = state
        self.error = error.code if error is not None else ""
        return True

    def spoilt(self, state: State, error: GatewayError) -> None:
        """It seemed to end well, and what it said was found to be no reply."""
        self.end(state, error)
        self.state, self.error = state, error.code

    def record(self, operation: str) -> Attempt:
        """The attempt as the receipt keeps it."""
        promise = self.promise
        return Attempt(  # in its members' order: by name it takes five times as long
            self.call,
            self.backend,
            self.region,
            self.model,
            self.began_s,
            self.span,
            self.family,
            operation,
            self.sent,
            self.first_s,
            self.ended_s,
            self.state,
            self.status,
            self.error,
            self.members,
            promise.broke if promise is not None and promise.terms.slo else "",
            self.units or None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Missed:
    """A call that found no slot at once: it waited, or was refused.

    `began_s`: since the request began.  `pool_state` None: no backend serves the model.  `seconds`:
    what was predicted of each seat, where something is promised.
    """

    call: int
    model: str
    wanted: Wanted
    pool_state: PoolState | None
    seconds: Sequence[float]
    began_s: float
