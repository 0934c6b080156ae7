"""What the frames say: a request was opened, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from modgate.api.json import JsonObject
from modgate.api.sink import Receipt

RECORD_VERSION = 1


def _version() -> int:
    """A factory, for a plain default would be left out of what is written."""
    return RECORD_VERSION


class Opened(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request's first dispatch, or (with `touched`) what it had used so far.

    Units are by full name.  The bill of a request that a crash cut off is made of this.
    """

    v: int = msgspec.field(default_factory=_version)
    id: str
    wall: float
    tenant: str = ""
    key_id: str = ""
    model: str = ""
    modality: str = ""
    reserved: Mapping[str, int] = {}
    touched: Mapping[str, int] | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request's end: one row per request, its attempts nested, key = `id`.

    `would_refuse`: limits in shadow that it was beyond.  `policies`: what they decided, unless they
    allowed it.
    """

    v: int = msgspec.field(default_factory=_version)
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
    policies: list[JsonObject] = []


def ended_of(receipt: Receipt) -> Ended:
    """The record of a receipt."""
    return Ended(
        id=receipt.request_id,
        wall=receipt.wall,
        ending=receipt.ending,
        status=receipt.status,
        tenant=receipt.tenant,
        key_id=receipt.key_id,
        model=receipt.model,
        modality=receipt.modality,
        operation=receipt.operation,
        route=receipt.route,
        surface=receipt.surface,
        stream=receipt.stream,
        slo=receipt.slo,
        duration_s=round(receipt.duration_s, 6),
        first_byte_s=receipt.first_byte_s,
        units={name: count for name, count in receipt.units.items() if count},
        reserved=dict(receipt.reserved),
        exact=receipt.exact,
        by=receipt.measured_by,
        error=receipt.error,
        trace_id=receipt.trace_id,
        attempts=[_attempt(each) for each in receipt.attempts],
        would_refuse=receipt.notes.get("would_refuse", ""),
        policies=[each.plain() for each in receipt.rulings if each.verdict != "allow"],
    )


def _attempt(attempt: object) -> JsonObject:
    record: JsonObject = msgspec.to_builtins(attempt)
    if record["members"] == 1:
        del record["members"]  # it went alone, as most do
    return {name: value for name, value in record.items() if value is not None and value != ""}


def crashed(opened: Opened, touched: Mapping[str, int] | None, wall: float) -> Ended:
    """The end of a request that has none: the last touch, else the reserve, as an estimate."""
    return Ended(
        id=opened.id,
        wall=wall,
        ending="gateway_crash",
        status=0,
        tenant=opened.tenant,
        key_id=opened.key_id,
        model=opened.model,
        modality=opened.modality,
        units=dict(touched if touched is not None else opened.reserved),
        reserved=dict(opened.reserved),
        exact=False,
        by="estimate",
    )
