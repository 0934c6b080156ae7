"""What becomes of a request whose client left: its engines stop, or finish what they are doing.

Where they finish, what they write is read on and counted, though nobody gets it: no further call is
drawn or sent, none is tried again, and the request's own deadline and a bound of bytes end it.
"""

from __future__ import annotations

from collections.abc import Iterable

from modgate.draft import Draft
from modgate.errors import Cancelled
from modgate.fleet.lease import Lease
from modgate.table import Resolved

NOTE, DRAINED, CUT = "on_disconnect", "drained", "cut"
AT_WORK = ("pending", "ok")  # of a call that was sent; of one that ended well the reply is made


def finishes_without_client(draft: Draft, resolved: Resolved | None) -> bool:
    """Its client left: whether an engine is at work for it and finishes (the tenant's word, else
    the model's); that is told to the draft."""
    if resolved is None or draft.abandoned:
        return draft.abandoned
    word = draft.caller.policy.on_disconnect or resolved.model.on_disconnect
    own = [tried for tried in draft.tries if tried.sent and tried.call >= 0]
    at_work = any(tried.state in AT_WORK for tried in own)
    draft.abandoned = word == "drain" and at_work
    return draft.abandoned


def client_left() -> Cancelled:
    """What becomes of a call that was not out when its client left."""
    return Cancelled("the client closed the connection")


def unless_abandoned(draft: Draft, lease: Lease | None) -> Lease | None:
    """A slot that was waited for; it is given back where nobody waits for the call any more."""
    if draft.abandoned and lease is not None:
        lease.give_back()
        raise client_left()
    return lease


def discard(draft: Draft, data: Iterable[bytes], at_most: int) -> None:
    """Bytes that nobody gets any more; Cancelled when there were too many of them."""
    draft.discarded_bytes += sum(map(len, data))
    if draft.discarded_bytes > at_most:
        raise Cancelled("the client closed the connection, and the rest of its reply is too long")


def check_abandoned(draft: Draft, *, cut_short: bool) -> None:
    """All was read that its engines wrote; Cancelled when more of them would have been asked."""
    if cut_short:
        raise client_left()
    if draft.abandoned:
        draft.notes[NOTE] = DRAINED
