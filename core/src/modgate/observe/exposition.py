"""Metrics at one moment, as plain values: merged over workers, written as Prometheus text.

Source: Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Join = Literal["sum", "max"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SLICE_LINES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One metric with its series: `rows` is label text (`tenant="a",unit="b"`) -> values.

    A counter or gauge has one value.  A histogram has one count for each of `bounds`, one above
    them all, and the sum.  `join`: what two workers' gauges make.
    """

    name: str
    meaning: str
    kind: Kind
    join: Join = "sum"
    bounds: tuple[float, ...] = ()
    rows: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


Snapshot = tuple[Table, ...]


def label_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels as they stand between the braces."""
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """One snapshot of several workers': counts add up, gauges as their `join` says.

    A table whose kind or bounds differ from the first one of its name is left out: it comes from a
    worker of another version, and no sum of the two would be true.
    """
    found: dict[str, Table] = {}
    for table in (table for snapshot in snapshots for table in snapshot):
        known = found.get(table.name)
        if known is None:
            found[table.name] = table
        elif (known.kind, known.bounds) == (table.kind, table.bounds):
            found[table.name] = _joined(known, table)
    return tuple(found.values())


def _joined(one: Table, other: Table) -> Table:
    rows = dict(one.rows)
    for labels, values in other.rows.items():
        known = rows.get(labels)
        if known is None:
            rows[labels] = values
        elif one.join == "max":
            rows[labels] = tuple(map(max, known, values))
        else:
            rows[labels] = tuple(a + b for a, b in zip(known, values, strict=True))
    return replace(one, rows=rows)


def slices(snapshot: Snapshot) -> Iterator[bytes]:
    """The text in pieces of about 500 lines, so that whoever writes it may do other work between.

    Every piece ends with a line's end.
    """
    lines: list[str] = []
    for table in snapshot:
        lines.append(f"# HELP {table.name} {_help(table.meaning)}")
        lines.append(f"# TYPE {table.name} {table.kind}")
        edges = [f'le="{number(bound)}"' for bound in (*table.bounds, math.inf)]
        for labels, values in table.rows.items():
            if table.kind == "histogram":
                _write_histogram(lines, table.name, labels, edges, values)
            else:
                lines.append(f"{_series(table.name, labels)} {number(values[0])}")
            if len(lines) >= SLICE_LINES:
                yield _text(lines)
                lines = []
    if lines:
        yield _text(lines)


def _write_histogram(
    lines: list[str], name: str, labels: str, edges: Sequence[str], values: Sequence[float]
) -> None:
    front = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    seen = 0.0
    for edge, count in zip(edges, values, strict=False):  # values has the sum, too
        seen += count
        lines.append(f"{front}{edge}}} {int(seen)}")
    lines.append(f"{_series(name + '_sum', labels)} {number(values[-1])}")
    lines.append(f"{_series(name + '_count', labels)} {int(seen)}")


def _series(name: str, labels: str) -> str:
    return f"{name}{{{labels}}}" if labels else name


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def number(value: float) -> str:
    """A number as the format spells it: whole where it is whole, `+Inf`, `-Inf`, `NaN`."""
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
