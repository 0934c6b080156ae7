"""Frames as a sink keeps them: one row for each end and each adjustment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from modgate.api.json import JsonObject
from modgate.api.residency import may_lie
from modgate.api.shipment import ROW_VERSION, UsageRow
from modgate.ledger.frames import Entry, Kind
from modgate.ledger.records import Adjusted, Ended

_ends = msgspec.msgpack.Decoder(Ended)
_adjustments = msgspec.msgpack.Decoder(Adjusted)
NOWHERE: JsonObject = {}
KEPT_TO = "regions "
HAVE_ROWS = frozenset({Kind.END, Kind.ADJUST})


def rows_of(entries: Iterable[Entry], writer: str, region: str | None = None) -> Iterator[UsageRow]:
    """The rows of entries that may lie in a region; what opens or anchors has none."""
    for each in entries:
        if each.kind is Kind.END:
            end = _ends.decode(each.payload)
            if may_lie(end.regions, region):
                yield end_row(end, writer)
        elif each.kind is Kind.ADJUST:
            said = _adjustments.decode(each.payload)
            if may_lie(said.regions, region):
                yield adjust_row(said, writer)


def end_row(end: Ended, writer: str) -> UsageRow:
    """The row of a request's end."""
    answered = max(reversed(end.attempts), key=_answers, default=NOWHERE)
    return UsageRow(  # in its members' order: by name it takes several times as long
        end.id,
        "end",
        0,
        writer,
        end.wall,
        end.wall + end.duration_s,
        end.tenant,
        end.key_id,
        end.model,
        end.modality,
        end.operation,
        end.route,
        end.surface,
        end.slo,
        answered.get("region", end.region),
        answered.get("backend", ""),
        end.stream,
        end.ending,
        end.status,
        end.error,
        end.first_byte_s,
        end.exact,
        end.by,
        "",
        _kept_to(end.regions),
        end.trace_id,
        end.units,
        end.reserved,
        end.attempts,
        ROW_VERSION,
        end.fallback_for,
        end.fallback_on,
        end.promise,
        end.on_disconnect,
        end.would_refuse,
    )


def _answers(attempt: JsonObject) -> tuple[bool, bool]:
    """Of attempts that one stands for, of which this is the largest, and of equal ones the last:
    one of the request's own calls, and one that went well."""
    return attempt.get("call", 0) >= 0, attempt.get("state") == "ok"


def adjust_row(said: Adjusted, writer: str) -> UsageRow:
    """The row of a correction."""
    return UsageRow(
        request_id=said.id,
        kind="adjust",
        sequence=said.sequence,
        writer=writer,
        began=said.began or said.wall,
        ended=said.wall,
        region=said.region,
        tenant=said.tenant,
        key_id=said.key_id,
        model=said.model,
        modality=said.modality,
        reason=said.reason,
        note=said.note,
        units=said.units,
    )


def _kept_to(regions: tuple[str, ...] | None) -> str:
    """The note of a bill that is kept to regions: what corrects it later must stay there, too."""
    return "" if regions is None else KEPT_TO + msgspec.json.encode(regions).decode()


def regions_of(note: str) -> tuple[str, ...] | None:
    """The regions that a bill's note keeps it to."""
    if not note.startswith(KEPT_TO):
        return None
    return msgspec.json.decode(note.removeprefix(KEPT_TO), type=tuple[str, ...])
