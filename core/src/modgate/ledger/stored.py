"""Reading the embedded sink and the ledger as one: each request once, wherever it is by now.

The sink has what was shipped, also of segments that are gone.  The ledger has what was not shipped
yet.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

import msgspec

from modgate.api.json import JsonObject
from modgate.ledger.columns import ADDED, too_new
from modgate.ledger.reader import adjustments, rows
from modgate.ledger.records import RECORD_VERSION, Adjusted, Ended
from modgate.ledger.rows import regions_of
from modgate.ledger.sqlite_sink import SCHEMA_VERSION

SAME = (
    *("tenant", "key_id", "model", "modality", "operation", "route", "surface", "stream", "slo"),
    *("ending", "status", "error", "first_byte_s", "exact", "trace_id"),
)
OWN = (
    "request_id",
    "began",
    "ended",
    "measured_by",
    "units",
    "reserved",
    "attempts",
    "region",
    "note",
)
COLUMNS = (*OWN, *SAME, *ADDED[2])
ADJUSTED = (
    *("request_id", "sequence", "ended", "reason", "tenant", "key_id", "model", "modality"),
    *("units", "note", "began", "region"),
)
ADJUSTMENTS = " ".join(("SELECT", ", ".join(ADJUSTED), "FROM modgate_usage WHERE kind = 'adjust'"))
TENANT, ORDER = "AND tenant = ?", "ORDER BY ended"
EARLIEST, LATEST = 0.0, 1e18

_counts = msgspec.json.Decoder(dict[str, int])
_attempts = msgspec.json.Decoder(list[JsonObject])


class NotRead(Exception):
    """The sink's file cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The file of the embedded sink, at one moment: what is shipped meanwhile is not seen.

    Times are of the day, in seconds; `begin` is inside a span, `end` is not.
    """

    _db: sqlite3.Connection
    _version: int

    @property
    def _ends(self) -> str:
        """Asks for ends; what tables of an older version lack is empty."""
        lacking = [] if self._version >= 2 else ADDED[2]
        told = ", ".join(f"'' AS {name}" if name in lacking else name for name in COLUMNS)
        return " ".join(("SELECT", told, "FROM modgate_usage WHERE kind = 'end'"))

    def find(self, request_id: str) -> Ended | None:
        """One request's row; None when it is not here."""
        found = self._db.execute(f"{self._ends} AND request_id = ?", (request_id,)).fetchone()
        return _ended(found) if found is not None else None

    def has(self, request_id: str) -> bool:
        """Whether a request's row is here."""
        asked = "SELECT 1 FROM modgate_usage WHERE request_id = ? AND kind = 'end'"
        return self._db.execute(asked, (request_id,)).fetchone() is not None

    def rows(self, begin: float, end: float, tenant: str | None) -> Iterator[Ended]:
        """The requests that began in a span, in the order of their ends.  `tenant`: None is all."""
        values: list[float | str] = [begin, min(end, LATEST)]
        asked = [self._ends, "AND began >= ? AND began < ?", ORDER]
        if tenant is not None:
            values.append(tenant)
            asked.insert(2, TENANT)
        for row in self._db.execute(" ".join(asked), values):
            yield _ended(row)

    def corrects(self, each: Adjusted) -> bool:
        """Whether a correction is here."""
        asked = "SELECT 1 FROM modgate_usage WHERE (request_id, kind, sequence) = (?, 'adjust', ?)"
        return self._db.execute(asked, (each.id, each.sequence)).fetchone() is not None

    def adjustments(self, begin: float, end: float, tenant: str | None) -> Iterator[Adjusted]:
        """The corrections of requests that began in a span.  `tenant`: None is all."""
        values: list[float | str] = [begin, min(end, LATEST)]
        asked = [ADJUSTMENTS, "AND began >= ? AND began < ?"]
        if tenant is not None:  # there is an index of theirs
            values.append(tenant)
            asked.append(TENANT)
        for row in self._db.execute(" ".join(asked), values):
            yield _adjusted(row)

    def known(self) -> dict[str, int]:
        """By writer a segment's number: what is in those before it is here."""
        return dict(self._db.execute("SELECT writer, segment FROM modgate_cursors"))


def _ended(row: Sequence[object]) -> Ended:
    said = dict(zip(COLUMNS, row, strict=True))
    began, ended = float(str(said["began"])), float(str(said["ended"]))
    same = {name: said[name] for name in (*SAME, *ADDED[2])}
    attempts = _attempts.decode(str(said["attempts"]))
    return msgspec.convert(
        {
            **same,
            "v": RECORD_VERSION,
            "id": said["request_id"],
            "wall": began,
            "duration_s": round(ended - began, 6),
            "by": said["measured_by"],
            "exact": bool(said["exact"]),
            "stream": bool(said["stream"]),
            "units": _counts.decode(str(said["units"])),
            "reserved": _counts.decode(str(said["reserved"])),
            "attempts": attempts,
            "region": "" if attempts else said["region"],
            "regions": regions_of(str(said["note"])),
        },
        Ended,
    )


def _adjusted(row: Sequence[object]) -> Adjusted:
    said = dict(zip(ADJUSTED, row, strict=True))
    made = {"id": said.pop("request_id"), "wall": said.pop("ended")}
    units = _counts.decode(str(said["units"]))
    return msgspec.convert({**said, **made, "units": units}, Adjusted)


@dataclass(frozen=True, slots=True)
class Whole:
    """A ledger and its embedded sink, where it has one."""

    ledger: Path
    stored: Stored | None

    def rows(
        self,
        begin: float = EARLIEST,
        end: float = LATEST,
        tenant: str | None = None,
        *,
        paced: Callable[[Iterator[Ended]], Iterator[Ended]] = iter,
    ) -> Iterator[Ended]:
        """The requests that began in a span, each once, in the order of their ends.

        `tenant`: None is all.  `paced`: is wrapped around what is read of the ledger, before
        anything is left out of it, so that a reader in the gateway can give way to others.
        """
        stored = self.stored
        known = stored.known() if stored is not None else {}
        own = (
            row
            for row in paced(rows(self.ledger, since=begin, known=known))
            if begin <= row.wall < end
            and tenant in (None, row.tenant)
            and (stored is None or not stored.has(row.id))
        )
        shipped = stored.rows(begin, end, tenant) if stored is not None else iter(())
        yield from merge(shipped, own, key=lambda row: row.wall + row.duration_s)

    def adjustments(
        self, begin: float = EARLIEST, end: float = LATEST, tenant: str | None = None
    ) -> Iterator[Adjusted]:
        """The corrections of requests that began in a span, each once.  `tenant`: None is all."""
        stored = self.stored
        if stored is not None:
            yield from stored.adjustments(begin, end, tenant)
        for each in adjustments(self.ledger, since=begin):
            meant = begin <= each.began < end and tenant in (None, each.tenant)
            if meant and (stored is None or not stored.corrects(each)):
                yield each


def _address(file: Path) -> str:
    """The file's address, to be read only.

    In a directory where nobody can write, as in a snapshot, SQLite could not make the files beside
    it that readers share, and is told that it will not change.
    """
    journal = file.with_name(f"{file.name}-wal")
    still = "" if journal.exists() or os.access(file.parent, os.W_OK) else "&immutable=1"
    return f"{file.resolve().as_uri()}?mode=ro{still}"


@contextmanager
def whole(ledger: Path, file: Path | None) -> Iterator[Whole]:
    """Open a ledger and its sink's file, which may be missing.  NotRead when it cannot be read."""
    if file is None or not file.exists():
        yield Whole(ledger, None)
        return
    try:
        with closing(sqlite3.connect(_address(file), uri=True)) as db:
            [(version,)] = db.execute("PRAGMA user_version")
            if version == 0:  # it is being made, and has nothing yet
                yield Whole(ledger, None)
                return
            if version > SCHEMA_VERSION + 1:
                raise NotRead(f"{file.name}: {too_new(version, SCHEMA_VERSION)}")
            db.execute("BEGIN")
            yield Whole(ledger, Stored(db, version))
    except sqlite3.Error as error:
        raise NotRead(f"{file.name} cannot be read: {error}") from None
