"""The page of formats says what the code does, and each format has its golden file."""

from __future__ import annotations

import re
from pathlib import Path

from modgate.api.shipment import ROW_VERSION
from modgate.auth import store
from modgate.config.schema import PriceSection
from modgate.fleet import frames as told
from modgate.ledger import frames, postgres_sink, records, sqlite_sink
from modgate.ledger.anchor import Anchored
from modgate.limits import levels
from modgate.limits.redis_store import SCRIPT
from modgate.prices import records as rated
from modgate.replays import record

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operators" / "formats.md"
ROW = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \| (\d+) \| `([^`]+)` \| ([^|]+?) \|$", re.MULTILINE)
LINES = 1  # of files that are one line of text each
VERSIONS = {
    "ledger frames and segments": frames.VERSION,
    "ledger records": records.RECORD_VERSION,
    "audit records": records.RECORD_VERSION,
    "anchors": Anchored(writer="", segment=0, offset=0, last="", wall=0).v,
    "rows of sinks": ROW_VERSION,
    "tables in SQLite": sqlite_sink.SCHEMA_VERSION,
    "tables in Postgres": postgres_sink.SCHEMA_VERSION,
    "tenants and keys": store.VERSION,
    "limits in Redis": int(re.findall(r"'v', '(\d+)'", SCRIPT)[0]),
    "levels of one host": levels.FORMAT,
    "levels of one gateway": levels.FORMAT,
    "idempotency keys": record.VERSION,
    "what gateways tell each other": told.VERSION,
    "price books": PriceSection.model_fields["version"].default,
    "rated lines": rated.VERSION,
    "secrets": LINES,
    "key files": LINES,
}


def test_the_page_names_every_format_with_its_version() -> None:
    named = {name: int(version) for name, _, version, _, _ in ROW.findall(PAGE.read_text())}

    assert named == VERSIONS


def test_every_golden_file_is_there_and_read_by_a_test() -> None:
    golden = [ROOT / "tests" / "core" / each[3] for each in ROW.findall(PAGE.read_text())]
    tested = "".join(path.read_text() for path in (ROOT / "tests" / "core").rglob("test_*.py"))

    assert [path for path in golden if not path.is_file()] == []
    for path in golden:
        stem = path.name.replace("v2-kept", "v{version}-{name}")
        assert stem in tested or path.name in tested or path.parent.name in tested, path


def test_every_version_in_the_code_is_on_the_page() -> None:
    """A constant that says a version, and is not of a client's wire, belongs to a format."""
    named = re.compile(r"^((?:\w+_)?VERSION|FORMAT)\s*=\s*\d+", re.MULTILINE)
    source = ROOT / "core" / "src" / "modgate"
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if named.search(path.read_text())
    }

    assert found == {
        "api/shipment.py",
        "auth/store.py",
        "fleet/frames.py",
        "ledger/frames.py",
        "ledger/postgres_sink.py",
        "ledger/records.py",
        "ledger/sqlite_sink.py",
        "limits/levels.py",
        "pages/usage.py",  # receipts, which clients keep: docs/usage.md
        "prices/records.py",
        "replays/record.py",
    }
