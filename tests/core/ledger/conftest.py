"""The databases that the core's own sinks write to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rigs.databases import Database, Postgres, Sqlite
from servers import Server, postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres(tmp_path_factory.mktemp("postgres")) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """One of each kind, empty."""
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    made = Postgres(request.getfixturevalue("server").url, tmp_path)
    await made.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return made
