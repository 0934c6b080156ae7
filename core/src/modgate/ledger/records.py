"""What the frames say.

A request was opened, how it ended, what was put right later, and what befell the ledger itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from modgate.api.json import JsonObject
from modgate.api.residency import sorted_regions
from modgate.api.sink import Attempt, Receipt
from modgate.ledger.frames import Kind

RECORD_VERSION = 1


def _version() -> int:
    """A factory, for a plain default would be left out of what is written."""
    return RECORD_VERSION


class Opened(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request's first dispatch, or (with `touched`) what it had used so far.

    Units are by full name.  The bill of a request that a crash cut off is made of this.  `wall`: of
    a dispatch, when the request began.  `region`: where its calls are, '' when that is not one.
    `regions`: where what is said of it may lie; None: everywhere.
    """

    v: int
    id: str
    wall: float
    tenant: str = ""
    key_id: str = ""
    model: str = ""
    modality: str = ""
    slo: str = ""
    reserved: Mapping[str, int] = {}
    touched: Mapping[str, int] | None = None
    region: str = ""
    fallback_for: str = ""
    fallback_on: str = ""
    regions: tuple[str, ...] | None = None


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request's end: one row per request, its attempts nested, key = `id`.

    `would_refuse`: limits in shadow that it was beyond.  `policies`: what they decided, unless they
    allowed it.  `promise`: `best-effort` when nobody would keep its class's.  `fallback_for`: the
    model that was asked for, where another one served it, and `fallback_on`: why.  `on_disconnect`:
    `drained` when its client left and its engines finished, `cut` when something ended that.
    `region`: of one that a crash cut; of the others their attempts say it.
    """

    v: int
    id: str
    wall: float
    ending: str
    status: int
    tenant: str
    key_id: str
    model: str
    modality: str
    operation: str = ""
    route: str = ""
    surface: str = ""
    stream: bool = False
    slo: str = ""
    duration_s: float = 0.0
    first_byte_s: float | None = None
    units: Mapping[str, int] = {}
    reserved: Mapping[str, int] = {}
    exact: bool = True
    by: str = "gateway"
    error: str = ""
    trace_id: str = ""
    attempts: list[JsonObject] = []
    would_refuse: str = ""
    promise: str = ""
    fallback_for: str = ""
    fallback_on: str = ""
    on_disconnect: str = ""
    policies: list[JsonObject] = []
    region: str = ""
    regions: tuple[str, ...] | None = None


class Adjusted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A correction of a bill that was made: added to it, never written over it.

    `sequence`: 1, 2, ... per request; with the request's id it is the key.  `units` may be
    negative.  Of a correction of prices they are `money.micro`, in `currency`.  `began` and
    `region` are the request's, for sums.
    """

    v: int = msgspec.field(default_factory=_version)
    id: str
    sequence: int
    wall: float
    reason: str
    tenant: str = ""
    key_id: str = ""
    model: str = ""
    modality: str = ""
    units: Mapping[str, int] = {}
    note: str = ""
    currency: str = ""
    began: float = 0.0
    region: str = ""
    regions: tuple[str, ...] | None = None


Event = Literal[
    "closed",  # in order: whatever was written is on disk
    "recovered",  # the writer before did not close; `crashed` requests got their end
    "dropped",  # a whole segment made room; `last` is the chain that it ended with
    "resumed",  # the disk takes frames again
    "unsynced",  # the disk said that it did not keep what it took
    "behind",  # a sink had acknowledged more than this directory holds
    "replaced",  # a sink knows another ledger of this name, which is not in this directory
]


class Noted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An anchor frame: what befell the ledger itself, in the chain like everything else.

    `segment`, `frames`, `size_bytes`: of what it is about.  `acknowledged`: all sinks had it.
    `missed`: frames that were ever dropped before they had, for the notes of that are dropped, too.
    `rebooted`: the machine went down in between, so that unsynced frames may be gone, of `sync_s`
    seconds at most.  `until`: the wall time of the last frame that is known.
    """

    v: int = msgspec.field(default_factory=_version)
    wall: float
    what: Event
    segment: int = 0
    frames: int = 0
    missed: int = 0
    size_bytes: int = 0
    last: bytes = b""
    acknowledged: bool = False
    rebooted: bool = False
    crashed: int = 0
    sync_s: float = 0.0
    until: float = 0.0
    writer: str = ""
    sink: str = ""


class Audited(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An audit frame: who changed what, or how many requests were denied for a reason.

    `action`: `tenant.set`, `key.revoke`, `config.reload` ..., or `denied`, where `subject` is the
    reason and `count` how many there were since `since`.  `epoch`: of the store that it came from.
    """

    v: int = msgspec.field(default_factory=_version)
    wall: float
    action: str
    actor: str = ""
    tenant: str = ""
    subject: str = ""
    detail: str = ""
    epoch: int = 0
    count: int = 0
    since: float = 0.0


class _Marks(msgspec.Struct, frozen=True):
    """Of each kind of record a field that no other has."""

    ending: str | None = None
    sequence: int | None = None
    action: str | None = None
    what: str | None = None


_marks = msgspec.msgpack.Decoder(_Marks)


def kind_of(payload: bytes) -> Kind:
    """What a record is by itself: the chain proves the payload, and not the frame's kind."""
    marks = _marks.decode(payload)
    if marks.ending is not None:
        return Kind.END
    if marks.sequence is not None:
        return Kind.ADJUST
    if marks.action is not None:
        return Kind.AUDIT
    return Kind.OPEN if marks.what is None else Kind.ANCHOR


def ended_of(receipt: Receipt) -> Ended:
    """The record of a receipt."""
    noted, units = receipt.notes.get, receipt.units
    if not all(units.values()):
        units = {name: count for name, count in units.items() if count}
    return Ended(  # in its members' order: by name it takes several times as long
        RECORD_VERSION,
        receipt.request_id,
        receipt.wall,
        receipt.ending,
        receipt.status,
        receipt.tenant,
        receipt.key_id,
        receipt.model,
        receipt.modality,
        receipt.operation,
        receipt.route,
        receipt.surface,
        receipt.stream,
        receipt.slo,
        round(receipt.duration_s, 6),
        receipt.first_byte_s,
        units,
        receipt.reserved,
        receipt.exact,
        receipt.measured_by,
        receipt.error,
        receipt.trace_id,
        [_attempt(each) for each in receipt.attempts],
        noted("would_refuse", ""),
        noted("slo", ""),
        noted("fallback_for", ""),
        noted("fallback_on", ""),
        noted("on_disconnect", ""),
        [each.plain() for each in receipt.rulings if each.verdict != "allow"],
        "",
        sorted_regions(receipt.regions),
    )


def _attempt(attempt: Attempt) -> JsonObject:
    """What is known of it."""
    known: JsonObject = {"call": attempt.call, "backend": attempt.backend}
    if attempt.region:
        known["region"] = attempt.region
    known["model"] = attempt.model
    known["began_s"] = attempt.began_s
    known["span"] = attempt.span
    if attempt.family:
        known["family"] = attempt.family
    if attempt.operation:
        known["operation"] = attempt.operation
    known["sent"] = attempt.sent
    if attempt.first_s is not None:
        known["first_s"] = attempt.first_s
    if attempt.ended_s is not None:
        known["ended_s"] = attempt.ended_s
    known["state"] = attempt.state
    if attempt.status is not None:
        known["status"] = attempt.status
    if attempt.error or attempt.members != 1 or attempt.broke or attempt.units is not None:
        known |= _unusual(attempt)
    return known


def _unusual(attempt: Attempt) -> JsonObject:
    """What most attempts are not: in error, not alone, too slow, or of a side call."""
    known: JsonObject = {}
    if attempt.error:
        known["error"] = attempt.error
    if attempt.members != 1:
        known["members"] = attempt.members
    if attempt.broke:
        known["broke"] = attempt.broke
    if attempt.units is not None:
        known["units"] = dict(attempt.units)
    return known


def touch(request_id: str, wall: float, units: Mapping[str, int]) -> Opened:
    """What a long request had used by then."""
    return Opened(RECORD_VERSION, request_id, wall, touched=dict(units))


def crashed(opened: Opened, touched: Mapping[str, int] | None, wall: float) -> Ended:
    """The end of a request that has none: the last touch, else the reserve, as an estimate."""
    counts = touched if touched is not None else opened.reserved
    units = {name: count for name, count in counts.items() if count}
    if opened.modality:
        units[f"{opened.modality}.requests"] = 1
    return Ended(
        v=RECORD_VERSION,
        id=opened.id,
        wall=wall,
        ending="gateway_crash",
        status=0,
        tenant=opened.tenant,
        key_id=opened.key_id,
        model=opened.model,
        modality=opened.modality,
        slo=opened.slo,
        units=units,
        reserved=dict(opened.reserved),
        exact=False,
        by="estimate",
        region=opened.region,
        fallback_for=opened.fallback_for,
        fallback_on=opened.fallback_on,
        regions=opened.regions,
    )
