"""The stores of the core's own sinks, made and looked at from outside by SQL."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import asyncpg

from modgate.api.shipment import LedgerSink
from modgate.ledger.postgres_sink import PostgresConfig, PostgresSink
from modgate.ledger.sqlite_sink import SqliteConfig, SqliteSink

Rows = list[tuple[object, ...]]


class Database:
    """What both have; `version` asks for that of the tables, `says_version` sets it."""

    name = version = says_version = ""

    def sink(self) -> LedgerSink:
        raise NotImplementedError  # not asked here

    async def run(self, sql: str) -> Rows:
        """The rows of a query; none of what is not one."""
        raise NotImplementedError  # not asked here


class Sqlite(Database):
    """A file in a folder."""

    name = "sqlite"
    version = says_version = "PRAGMA user_version"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sink(self) -> LedgerSink:
        return SqliteSink(SqliteConfig(), folder=self.folder)

    async def run(self, sql: str) -> Rows:
        db = sqlite3.connect(self.folder / "usage.sqlite", isolation_level=None)
        try:
            if sql.startswith(("SELECT", "PRAGMA")):
                return list(db.execute(sql))
            db.executescript(sql)
            return []
        finally:
            db.close()


class Postgres(Database):
    """A server's."""

    name = "postgres"
    version = "SELECT version FROM modgate_schema"
    says_version = "UPDATE modgate_schema SET version"

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def sink(self) -> LedgerSink:
        return PostgresSink(PostgresConfig(url=self.url), folder=self.folder)

    async def run(self, sql: str) -> Rows:
        db = await asyncpg.connect(self.url)
        try:
            if sql.startswith("SELECT"):
                return [tuple(each) for each in await db.fetch(sql)]
            await db.execute(sql)
            return []
        finally:
            await db.close()
