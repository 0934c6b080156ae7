"""Whether a call that failed is tried once more, and after how long: a table, pure.

What an engine refuses (4xx) and what is ours is final.  Nothing is asked here about what was fed:
from the first event on nobody asks.

Source: algorithms.md 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from modgate.api.relay import State
from modgate.errors import (
    BadReply,
    ConnectTimedOut,
    GatewayError,
    ModelLoading,
    Overloaded,
    Refused,
    Unreached,
    Unsupported,
    Upstream,
    UpstreamTimedOut,
)

EXTRA = 2  # attempts beside the first
BACK_OFF_S = 0.025  # before the same engine is asked again, doubled each time
DOUBLED_AT_MOST = 5  # times: so often asks a call that is held until a model is loaded
GATEWAYS = (502, 504)  # not the engine's own words: whatever stands before it lost it

Failure = Literal[
    "unreached",  # no connection: nothing was sent
    "loading",  # its engine is there, and its model is not yet
    "full",  # it says that it has no room now
    "lost",  # sent, and no reply of its own came
    "fault",  # its own failure, or a reply that is none: perhaps it is the call's fault
    "late",  # nothing came in time
    "unsaid",  # the backend's dialect cannot say it: nothing was sent, and no engine failed
    "final",
]
ONCE = ("lost", "fault", "late")  # a second failure of the kind is the caller's to know
SAME = ("unreached", "lost")  # the same engine may be asked again, where there is no other
NOT_READY = ("unreached", "loading", "unsaid")  # of the call no engine has had any work


def failure_of(error: GatewayError | Unsupported, status: int | None) -> Failure:
    """The kind of a failed attempt; `status`: that its engine answered with, None = none came."""
    match error:
        case Unsupported():
            return "unsaid"
        case Unreached() | ConnectTimedOut():
            return "unreached"
        case UpstreamTimedOut():
            return "late"
        case ModelLoading():
            return "loading"
        case Overloaded():
            return "full"
        case BadReply():
            return "fault"
        case Upstream():
            return "lost" if status is None or status < 300 or status in GATEWAYS else "fault"
        case _:
            return "final"


def state_of(error: BaseException) -> State:
    """How a call stands that this error ended."""
    if isinstance(error, UpstreamTimedOut):
        return "timed_out"
    if isinstance(error, Refused | Unsupported):
        return "refused"
    return "failed" if isinstance(error, GatewayError) else "cancelled"


def alike(failures: Sequence[Failure]) -> bool:
    """Whether a call failed twice in the same way, and no load is the reason: it is the call's own.

    Source: wire.md 1.8 (what a gateway tried again is not to be sent again).
    """
    return failures[-1] in ("lost", "fault") and failures.count(failures[-1]) > 1


def pause_s(
    failures: Sequence[Failure],
    *,
    other: bool,
    left_s: float,
    needs_s: float,
    held_s: float,
    turn_s: Callable[[], float],
    lot: Callable[[], float],
) -> float | None:
    """Seconds to wait before the next attempt; None = there is none.

    `failures`: of this call, the newest last.  `other`: there is an engine that did not fail it.
    `left_s`: until the request's end; `needs_s`: what another engine will most likely take;
    `held_s`: for so much longer it is held while all of them load its model, `turn_s`: until it may
    ask again then.
    """
    newest = failures[-1]
    if newest == "unsaid":
        return 0.0 if other else None
    failures = [each for each in failures if each != "unsaid"]
    held = held_s > 0 and all(failure == "loading" for failure in failures)
    if newest == "final" or (len(failures) > EXTRA and not held):
        return None
    if newest in ONCE and failures.count(newest) > 1:
        return None
    if other:
        return 0.0 if left_s > (needs_s if newest == "late" else 0.0) else None
    if newest not in SAME and not held:
        return None
    seconds = BACK_OFF_S * 2 ** min(len(failures) - 1, DOUBLED_AT_MOST) * lot()
    if newest == "loading":
        seconds = min(held_s, max(seconds, turn_s()))
    return seconds if left_s > seconds else None
