"""Whether a call that failed is retried, and after how long: pure rules.

What an engine refuses (4xx), and what is the gateway's own failure, is final.  So is every failure
after the first event was fed: then these rules are not asked.

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
    TooLarge,
    Unreached,
    Unsupported,
    Upstream,
    UpstreamTimedOut,
)

EXTRA = 2  # attempts beside the first
BACK_OFF_S = 0.025  # before the same engine is asked again, doubled each time
DOUBLED_AT_MOST = 5  # times, for a call that is held until its model is loaded
GATEWAYS = (502, 504)  # said by a proxy before the engine, which lost the call

Failure = Literal[
    "unreached",  # no connection, so nothing was sent
    "loading",  # the engine is there, but has not loaded the model yet
    "full",  # the engine says that it has no room now
    "lost",  # sent, but the engine did not reply
    "fault",  # an error or an unreadable reply of the engine: the call may be the reason
    "late",  # nothing came in time
    "unsaid",  # the backend's dialect cannot express the call: nothing was sent
    "final",
]
ONCE = ("lost", "fault", "late")  # retried once: a second failure of the kind is final
SAME = ("unreached", "lost")  # where there is no other engine, the same one is asked again
NOT_READY = ("unreached", "loading", "unsaid")  # no engine worked: no retry budget is spent


def failure_of(error: GatewayError | Unsupported, status: int | None) -> Failure:
    """The kind of a failed attempt; `status`: of the engine's reply, None = there was none."""
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
    """The state of a call that this error ended."""
    if isinstance(error, UpstreamTimedOut):
        return "timed_out"
    if isinstance(error, Refused | TooLarge | Unsupported):
        return "refused"
    return "failed" if isinstance(error, GatewayError) else "cancelled"


def alike(failures: Sequence[Failure]) -> bool:
    """Whether a call failed twice in the same way, not for load: then the call is the reason.

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

    `failures`: of this call, the newest last.  `other`: an engine is left that has not failed it.
    `left_s`: until the request's deadline.  `needs_s`: the predicted time at another engine.
    `held_s`: for how much longer it is held while its model is being loaded; `turn_s`: until it may
    ask again then.  `lot`: a random number of [0, 1).
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
