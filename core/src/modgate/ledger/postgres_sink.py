"""Rows in Postgres: the sink that several gateways can share."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, Field

from modgate.api.secret import Secret, without_password
from modgate.api.shipment import Cursor, LedgerSink, Shipment, SinkDown
from modgate.ledger.columns import DOCUMENTS, TIMES, additions, insert, too_new, values_of

if TYPE_CHECKING:
    from asyncpg import Connection

SCHEMA_VERSION = 2
CONNECT_S = 5.0
COMMAND_S = 20.0
# While a change of the tables waits for them, other gateways' rows wait behind it.
LOCK_WAIT_S = 2.0
LOCK = 0x6D6F6467  # one gateway at a time makes the tables

SCHEMA = files("modgate.ledger").joinpath("usage_postgres.sql").read_text()
MOVE = """\
INSERT INTO modgate_cursors AS old (writer, segment, position, frames, last, at)
VALUES ($1, $2, $3, $4, $5, to_timestamp($6))
ON CONFLICT (writer) DO UPDATE SET segment = excluded.segment, position = excluded.position,
  frames = excluded.frames, last = excluded.last, at = excluded.at
WHERE (excluded.segment, excluded.position) > (old.segment, old.position)
"""
CURSORS = """\
SELECT writer, segment, position, frames, last, extract(epoch from at)::float8 AS at
FROM modgate_cursors
"""


def _placed(number: int, column: str) -> str:
    if column in TIMES:
        return f"to_timestamp(${number})"
    return f"${number}::jsonb" if column in DOCUMENTS else f"${number}"


INSERT = insert(_placed)


class PostgresConfig(BaseModel, frozen=True, extra="forbid"):
    """`[[ledger.sink]]` of kind postgres."""

    url: Annotated[str, AfterValidator(without_password)] = Field(
        pattern="^postgres(ql)?://", description="postgresql://USER@HOST/DATABASE; no password"
    )


class PostgresSink(LedgerSink):
    """Rows go into the table `modgate_usage`; the view `modgate_usage_units` has one for each unit.

    ValueError at once when asyncpg is not installed.
    """

    name: ClassVar[str] = "postgres"
    config_type: ClassVar[type[BaseModel]] = PostgresConfig

    def __init__(
        self, config: PostgresConfig, *, folder: Path, password: Secret | None = None
    ) -> None:
        try:
            import asyncpg
        except ImportError:
            raise ValueError("a sink in Postgres needs modgate[postgres]") from None
        del folder
        self._connect, self._locked = asyncpg.connect, asyncpg.LockNotAvailableError
        self._url = config.url
        self._password = password
        self._db: Connection | None = None

    async def open(self) -> Sequence[Cursor]:
        """See `LedgerSink`."""
        self._db = db = await self._connect(
            self._url,
            password=self._password.reveal() if self._password is not None else None,
            timeout=CONNECT_S,
            command_timeout=COMMAND_S,
        )
        try:
            await _make_tables(db)
        except self._locked:
            text = "somebody's transaction holds its tables, which are to be changed; end that one"
            raise SinkDown(text) from None
        return [
            Cursor(
                writer=each["writer"],
                segment=each["segment"],
                offset=each["position"],
                frames=each["frames"],
                last=each["last"],
                at=each["at"],
            )
            for each in await db.fetch(CURSORS)
        ]

    async def write(self, shipment: Shipment) -> None:
        """See `LedgerSink`."""
        db, cursor = self._db, shipment.cursor
        assert db is not None, "opened first"
        place = (cursor.segment, cursor.offset, cursor.frames)
        async with db.transaction():
            if shipment.rows:
                await db.executemany(INSERT, [values_of(row) for row in shipment.rows])
            await db.execute(MOVE, cursor.writer, *place, cursor.last, cursor.at)

    async def close(self) -> None:
        """See `LedgerSink`."""
        db, self._db = self._db, None
        if db is not None:
            try:
                await db.close(timeout=CONNECT_S)
            except BaseException:
                db.terminate()
                raise


async def _make_tables(db: Connection) -> None:
    """Make the tables, or bring those of an older version to ours."""
    async with db.transaction():
        await db.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_S * 1000:.0f}")
        await db.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        version = 0
        if await db.fetchval("SELECT to_regclass('modgate_schema') IS NOT NULL"):
            version = await db.fetchval("SELECT max(version) FROM modgate_schema") or 0
        if version > SCHEMA_VERSION + 1:
            raise SinkDown(too_new(version, SCHEMA_VERSION))
        if version < SCHEMA_VERSION:
            for statement in [SCHEMA] if version == 0 else additions(version):
                await db.execute(statement)
            await db.execute("DELETE FROM modgate_schema")
            await db.execute("INSERT INTO modgate_schema VALUES ($1)", SCHEMA_VERSION)
