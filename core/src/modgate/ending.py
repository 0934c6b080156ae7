"""How a request ended, in the ledger's words, told by the error that it ended with."""

from __future__ import annotations

from modgate.api.sink import Ending
from modgate.errors import (
    Cancelled,
    Draining,
    GatewayError,
    LedgerUnavailable,
    Overloaded,
    PolicyFailed,
    Unavailable,
    Upstream,
    UpstreamTimedOut,
)


def ending_of(error: GatewayError | None, *, admitted: bool = True) -> Ending:
    """How a request ended, in the ledger's words; cut by a shutdown, it is a fault of ours."""
    match error:
        case None:
            return "ok"
        case Cancelled():
            return "client_gone"
        case Draining():
            return "fault" if admitted else "refused"
        case UpstreamTimedOut():
            return "timed_out"
        case Upstream() | Unavailable():
            return _unserved(error)
        case Overloaded():
            return "overloaded"
        case _:
            return "refused" if error.status < 500 else "fault"


def _unserved(error: GatewayError) -> Ending:
    """Nothing here could serve it: engines, the ledger, or a policy that did not decide."""
    match error.__cause__ if isinstance(error, PolicyFailed) else error:
        case PolicyFailed():
            return "timed_out"
        case LedgerUnavailable():
            return "overloaded"
        case Upstream() | Unavailable() | Overloaded():
            return "upstream_failed"
        case _:
            return "fault"
