"""What becomes of a request whose client left: its engines stop, or finish what they are doing.

Where they finish, their replies are read and counted, though nobody gets them.  No more calls are
drawn, sent or retried, and the request's deadline and a bound of bytes still end it.
"""

from __future__ import annotations

from collections.abc import Iterable

from modgate.draft import Draft
from modgate.errors import Cancelled
from modgate.fleet.lease import Lease
from modgate.table import Resolved

NOTE, DRAINED, CUT = "on_disconnect", "drained", "cut"
AT_WORK = ("pending", "ok")  # states of a sent call: under way, or its reply is being relayed


def abandon(draft: Draft, resolved: Resolved | None) -> bool:
    """The client left: note it as `draft.abandoned` where the engines finish; whether they do.

    As the tenant's policy says, else the model; only where an engine is at work.
    """
    if resolved is None or draft.abandoned:
        return draft.abandoned
    word = draft.caller.policy.on_disconnect or resolved.model.on_disconnect
    own = [tried for tried in draft.tries if tried.sent and tried.call >= 0]
    at_work = any(tried.state in AT_WORK for tried in own)
    draft.abandoned = word == "drain" and at_work
    return draft.abandoned


def client_left() -> Cancelled:
    """The error that ends what is still waited for when the client has left."""
    return Cancelled("the client closed the connection")


def unless_abandoned(draft: Draft, lease: Lease | None) -> Lease | None:
    """The slot; given back, with Cancelled, where the client left during the wait."""
    if draft.abandoned and lease is not None:
        lease.give_back()
        raise client_left()
    return lease


def discard(draft: Draft, data: Iterable[bytes], at_most: int) -> None:
    """Count bytes that nobody gets; Cancelled beyond `at_most` in all."""
    draft.discarded_bytes += sum(map(len, data))
    if draft.discarded_bytes > at_most:
        raise Cancelled("the client closed the connection, and the rest of its reply is too long")


def check_abandoned(draft: Draft, *, cut_short: bool) -> None:
    """At the end of a plan: note that an abandoned request was finished; Cancelled if cut short."""
    if cut_short:
        raise client_left()
    if draft.abandoned:
        draft.notes[NOTE] = DRAINED
