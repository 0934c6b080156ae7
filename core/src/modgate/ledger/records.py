"""The records that frames carry, as msgpack maps.

Three are about a request: it was opened, it ended, its bill was put right.  One is about the ledger
itself, and one is for auditors.  `v` is the version of a record's format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from modgate.api.json import JsonObject
from modgate.api.residency import sorted_regions
from modgate.api.secret import Secret
from modgate.api.sink import Attempt, Receipt
from modgate.ledger.frames import FRAME_HEAD, Frame, Kind, Tampered, read_frames

RECORD_VERSION = 1


def _version() -> int:
    """A factory, because `omit_defaults` would leave a plain default out of what is written."""
    return RECORD_VERSION


class Opened(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request was dispatched, or, with `touched`, this is what it had used so far.

    The bill of a request that a crash cut off is made of this.

    `wall`: the time of day, in seconds: when the request began, or was touched.
    `reserved`, `touched`: units by full name (`llm.output_tokens`).
    `region`: where its calls are; '' when they are not all in one.
    `fallback_for`, `fallback_on`: the model that was asked for, and why another one serves it.
    `regions`: the regions where this record may be kept; None: everywhere.
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
    """A request's end: the one row of a request, with its attempts in it.  `id` is the key.

    `wall`: the time of day at which the request began, in seconds; it ended `duration_s` later.
    `units`, `reserved`: by full name.  `exact`, `by`: whether units were counted or estimated, and
    by whom (`engine`, `gateway`, `estimate`).
    `would_refuse`: limits in shadow that would have refused it.
    `promise`: `best-effort` when no engine could keep what its class promises.
    `fallback_for`, `fallback_on`: the model that was asked for, and why another one served it.
    `on_disconnect`: `drained` when its client left and its engines finished all the same, `cut`
    when something ended that.
    `policies`: what they decided, without those that allowed it.
    `region`: only of a request that a crash cut; of others the attempts say it.
    `regions`: the regions where this record may be kept; None: everywhere.
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
    """A correction of a bill that was made.  It is added to the bill, and never written over it.

    `sequence`: 1, 2, ... of each request; with the request's id it is the key.
    `units`: by full name, and they may be negative.  A correction of prices has one, `money.micro`:
    millionths of `currency`.
    `began`, `region`, `regions`: those of the request, so that sums need not look it up.
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
    "closed",  # the writer stopped in order: all that was written is on disk
    "recovered",  # the writer before did not close; `crashed` requests got their end
    "dropped",  # a segment was removed; `last` is the chain value that it ended with
    "missing",  # a segment is gone that no note calls dropped, and the machine went down
    "resumed",  # the disk takes frames again; `frames` had waited in memory
    "unsynced",  # the disk said that it did not keep what it took
    "behind",  # a sink had acknowledged more than this directory holds
    "replaced",  # a sink knows another ledger of this name, which is not in this directory
]


class Noted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A note of what befell the ledger itself, in the chain like everything else (an anchor frame).

    `segment`, `frames`, `size_bytes`: of what it is about.
    `acknowledged`: every sink had what was dropped.
    `missed`: all frames that were ever dropped before every sink had them.  Each note has the sum,
    because earlier notes of it are dropped, too.
    `rebooted`: the machine went down in between, so unsynced frames may be gone, those of `sync_s`
    seconds at most.
    `until`: the time of day of the last frame that is known.
    `writer`, `sink`: whom a witness saw, and which witness.
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
    """Who changed what, or how many requests were denied for a reason.

    `action`: `tenant.set`, `key.revoke`, `config.reload` ..., or `denied`.
    `epoch`: the number that the key store gave this change; 0 when it is not of a store.
    `count`, `since`: of `denied`: how many requests, since when.  The reason is the `subject`.
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
    """Of each kind of record a member that no other kind has, and that is always written."""

    ending: str | None = None
    sequence: int | None = None
    action: str | None = None
    what: str | None = None


_marks = msgspec.msgpack.Decoder(_Marks)


def kind_of(payload: bytes) -> Kind:
    """Which kind a record is by its members.

    Checksum and chain prove the payload and not the kind in the frame's head, so `read_records`
    compares the two.
    """
    marks = _marks.decode(payload)
    if marks.ending is not None:
        return Kind.END
    if marks.sequence is not None:
        return Kind.ADJUST
    if marks.action is not None:
        return Kind.AUDIT
    return Kind.OPEN if marks.what is None else Kind.ANCHOR


def read_records(data: bytes, offset: int, key: Secret | None, last: bytes) -> Iterator[Frame]:
    """The frames that `read_frames` gives, each of the kind that its record is, with a key or none.

    Torn as that says, and Tampered also for a frame of another kind.
    """
    for each in read_frames(data, offset, key, last):
        if kind_of(each.payload) is not each.kind:
            raise Tampered(each.end - len(each.payload) - FRAME_HEAD)
        yield each


def ended_of(receipt: Receipt) -> Ended:
    """The record of a finished request."""
    noted, units = receipt.notes.get, receipt.units
    if not all(units.values()):
        units = {name: count for name, count in units.items() if count}
    return Ended(  # in the order of its members: by name this takes several times as long
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
    """An attempt as the ledger keeps it; members that say nothing are left out."""
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
    """The record of what a request had used by a time of day."""
    return Opened(RECORD_VERSION, request_id, wall, touched=dict(units))


def crashed(opened: Opened, touched: Mapping[str, int] | None, wall: float) -> Ended:
    """The end of a request that a crash cut off, as an estimate.

    It is billed for what the last touch told of, or for its reserve when there was no touch.
    """
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
