"""A row's columns, for sinks that keep rows in tables."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from modgate.api.shipment import UsageRow

Value = str | int | float | bool | None
COLUMNS = UsageRow.__struct_fields__
TIMES = frozenset({"began", "ended"})  # seconds since the epoch
# By the version of the tables that added them, each a text.
ADDED = {2: ("fallback_for", "fallback_on", "promise", "on_disconnect", "would_refuse")}
DOCUMENTS = frozenset({"units", "reserved", "attempts"})  # JSON

_documents = tuple(COLUMNS.index(name) for name in DOCUMENTS)
_encode = msgspec.json.Encoder().encode


def values_of(row: UsageRow) -> list[Value]:
    """A row's values in the order of COLUMNS; JSON as text."""
    values = list(msgspec.structs.astuple(row))
    for at in _documents:
        values[at] = _encode(values[at]).decode()
    return values


def insert(placed: Callable[[int, str], str], rows: int = 1) -> str:
    """The statement that keeps rows once; `placed(number, column)` is how a value is put in."""
    numbered = enumerate(COLUMNS * rows, 1)
    values = [placed(number, name) for number, name in numbered]
    width, into = len(COLUMNS), ", ".join(COLUMNS)
    these = (f"({', '.join(values[at : at + width])})" for at in range(0, len(values), width))
    kept = f"({into}) VALUES {', '.join(these)}"
    return " ".join(("INSERT INTO modgate_usage", kept, "ON CONFLICT DO NOTHING"))


def additions(version: int) -> list[str]:
    """The statements that bring tables of an older version to ours."""
    later = (name for number, names in ADDED.items() if number > version for name in names)
    return [
        f"ALTER TABLE modgate_usage ADD COLUMN {name} TEXT NOT NULL DEFAULT ''" for name in later
    ]


def too_new(version: int, known: int) -> str:
    """Why tables are not touched; those of the next version have only more, with defaults."""
    return f"its tables are of version {version}; this gateway goes along with up to {known + 1}"
