"""The attempts of a request's calls while they live; the receipt keeps an `Attempt` of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from modgate.api.plan import ReplyKind
from modgate.api.relay import State
from modgate.api.sink import Attempt
from modgate.errors import ConnectTimedOut, GatewayError, Unreached
from modgate.fleet.pick import Choice, Wanted
from modgate.fleet.pool_state import PoolState
from modgate.fleet.promise import Promise
from modgate.tracebacks import reason_of
from modgate.units import NOTHING, Units


class Try(msgspec.Struct, kw_only=True, eq=False):
    """One attempt while it lives.  All its times are seconds since the request began.

    `zero`: when that was, by `now`.  `waits_since_s`: when its call began to wait for a slot; None:
    it did not.  `members`: calls that shared the trip; 0 for all but the first of them.  `size`:
    what its call may need; `units`: what an aside has cost.  `wanted`, `choice`, `promise`: why
    this backend was chosen, for `modgate explain`; `unreached`: why there was no connection, for
    the operator alone.
    """

    # Draft.attempt, from the lease
    call: int
    backend: str
    region: str
    family: str
    model: str
    span: str
    now: Callable[[], float]
    zero: float
    began_s: float
    size: Units = NOTHING
    wanted: Wanted | None = None
    choice: Choice | None = None
    promise: Promise | None = None

    # Dispatch, before it is sent
    members: int = 1
    waits_since_s: float | None = None

    # Sender
    reply: ReplyKind = "whole"
    sent: bool = False
    status: int | None = None

    # `saw_event`, `end` and `spoilt`: Stream, Dispatch where there is none, Trip and its batch
    first_s: float | None = None
    ended_s: float | None = None
    state: State = "pending"
    error: str = ""
    unreached: str = ""

    # Meter, of an aside
    units: Mapping[str, int] = {}

    def saw_event(self) -> None:
        """An event came; only the first one counts."""
        if self.first_s is None:
            self.first_s = self.now() - self.zero

    def end(self, state: State, error: GatewayError | None = None) -> bool:
        """End the attempt; False when it had ended before."""
        if self.ended_s is not None:
            return False
        self.ended_s = self.now() - self.zero
        self.state = state
        self.error = error.code if error is not None else ""
        if reason := _unreached(error):
            self.unreached, self.sent = reason, False
        return True

    def spoilt(self, state: State, error: GatewayError) -> None:
        """The attempt ended well, but the reply turned out to be unusable."""
        self.end(state, error)
        self.state, self.error = state, error.code

    def record(self, operation: str) -> Attempt:
        """The attempt as the receipt keeps it."""
        promise = self.promise
        return Attempt(  # by position: by name it takes five times as long
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


def _unreached(error: GatewayError | None) -> str:
    """Why there was no connection, as the system says it; '' where there was one."""
    match error:
        case ConnectTimedOut():
            return "no connection in time"
        case Unreached():
            reason = reason_of(error)
            return "no connection" if reason == type(error).__name__ else reason
        case _:
            return ""


@dataclass(frozen=True, slots=True, eq=False)
class Missed:
    """A call that found no slot at once, so that it waited or was refused.

    `began_s`: seconds since the request began.  `pool_state`: how the seats stood; None = no
    backend serves the model.  `seconds`: the predicted time of each seat, where one is promised.
    """

    call: int
    model: str
    wanted: Wanted
    pool_state: PoolState | None
    seconds: Sequence[float]
    began_s: float
