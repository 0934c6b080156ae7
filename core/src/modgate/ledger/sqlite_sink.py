"""The embedded sink: one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field

from modgate.api.secret import Secret
from modgate.api.shipment import Cursor, LedgerSink, Shipment, SinkDown, UsageRow
from modgate.ledger.columns import COLUMNS, Value, additions, insert, too_new, values_of
from modgate.sqlite_file import SqliteFile

SCHEMA_VERSION = 2
FILE = "usage.sqlite"
BUSY_S = 5.0

SCHEMA = files("modgate.ledger").joinpath("usage_sqlite.sql").read_text()
INSERT = insert(lambda *_: "?")
# The same rows in fewer steps: the interpreter's lock, which the event loop wants, is let go and
# taken again with each.
TOGETHER = 128
INSERT_TOGETHER = insert(lambda *_: "?", TOGETHER)
# A number in place of a truth value, for which every time an adapter would be looked for.
FLAGS = (COLUMNS.index("stream"), COLUMNS.index("exact"))
# A cursor is an acknowledgement: it must be on disk when it is given (FULL).  What a statement of
# many rows would undo is kept in memory, and not in a file (MEMORY).
PRAGMAS = """\
PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
PRAGMA temp_store = MEMORY;
"""
MOVE = """\
INSERT INTO modgate_cursors (writer, segment, position, frames, last, at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (writer) DO UPDATE SET segment = excluded.segment, position = excluded.position,
  frames = excluded.frames, last = excluded.last, at = excluded.at
WHERE (excluded.segment, excluded.position) > (segment, position)
"""


class SqliteConfig(BaseModel, frozen=True, extra="forbid"):
    """`[[ledger.sink]]` of kind sqlite."""

    path: Path | None = Field(None, description="the file; default usage.sqlite beside the ledger")


class SqliteSink(LedgerSink):
    """Rows in the table `modgate_usage`, units a row each in the view `modgate_usage_units`."""

    name: ClassVar[str] = "sqlite"
    config_type: ClassVar[type[BaseModel]] = SqliteConfig

    def __init__(
        self, config: SqliteConfig, *, folder: Path, password: Secret | None = None
    ) -> None:
        del password
        self._path = config.path or folder / FILE
        self._db: sqlite3.Connection | None = None
        self._file: SqliteFile | None = None

    async def open(self) -> Sequence[Cursor]:
        """See `LedgerSink`."""
        with self._told():
            return self._cursors()

    def _cursors(self) -> Sequence[Cursor]:
        fresh = not self._path.exists()
        self._db = db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
        if fresh:
            self._path.chmod(0o600)
        db.executescript(PRAGMAS)
        [(version,)] = db.execute("PRAGMA user_version")
        if version > SCHEMA_VERSION + 1:
            raise SinkDown(too_new(version, SCHEMA_VERSION))
        if version < SCHEMA_VERSION:
            _make(db)
        rows = db.execute("SELECT writer, segment, position, frames, last, at FROM modgate_cursors")
        found = [
            Cursor(writer=w, segment=s, offset=o, frames=f, last=last, at=at)
            for w, s, o, f, last, at in rows
        ]
        self._file = SqliteFile(self._path)
        return found

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite says of the file is no secret; of what is in it, it may be."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if type(error) in (sqlite3.DatabaseError, sqlite3.OperationalError):
                raise SinkDown(f"{self._path.name}: {error}") from None
            raise

    async def look(self) -> None:
        """See `LedgerSink`."""
        if self._file is None or self._db is None:
            return
        with self._told():
            if self._file.replaced(self._db):
                raise SinkDown(f"{self._path.name} was removed or replaced; it is opened anew")

    async def write(self, shipment: Shipment) -> None:
        """See `LedgerSink`."""
        db = self._db
        assert db is not None, "opened first"
        with self._told():
            self._keep(db, shipment.rows, shipment.cursor)

    def _keep(self, db: sqlite3.Connection, rows: Sequence[UsageRow], cursor: Cursor) -> None:
        place = (cursor.segment, cursor.offset, cursor.frames)
        db.execute("BEGIN IMMEDIATE")
        try:
            whole = len(rows) - len(rows) % TOGETHER
            for at in range(0, whole, TOGETHER):
                these = map(_values, rows[at : at + TOGETHER])
                db.execute(INSERT_TOGETHER, list(chain.from_iterable(these)))
            db.executemany(INSERT, map(_values, rows[whole:]))
            db.execute(MOVE, (cursor.writer, *place, cursor.last, cursor.at))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    async def close(self) -> None:
        """See `LedgerSink`."""
        db, self._db = self._db, None
        file, self._file = self._file, None
        if db is not None and file is not None:
            file.close(db)
        elif db is not None:
            db.close()


def _make(db: sqlite3.Connection) -> None:
    """Make the tables, or add to those of an older version."""
    db.execute("BEGIN IMMEDIATE")
    [(version,)] = db.execute("PRAGMA user_version")  # another gateway may have been first
    for statement in SCHEMA.split(";\n") if version == 0 else additions(version):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {max(version, SCHEMA_VERSION)}")
    db.execute("COMMIT")


def _values(row: UsageRow) -> list[Value]:
    values = values_of(row)
    for at in FLAGS:
        values[at] = 1 if values[at] else 0
    return values
