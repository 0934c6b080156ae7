"""How a record of an idempotency key is written; the golden files are what each version wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from modgate.replays.record import READ, VERSION, Record, read

GOLDEN = Path(__file__).parent / "golden"
RUNNING = Record(state="running", digest=bytes(range(32)), request_id="req_" + "1" * 32)
KEPT = Record(
    state="done",
    digest=bytes(range(32)),
    request_id="req_" + "2" * 32,
    status=200,
    headers={"content-type": "application/json"},
    body=b'{"ok":true}',
)
UNKEPT = Record(state="done", digest=b"\xff" * 32, request_id="req_" + "3" * 32, status=200)
BESIDE = replace(KEPT, beside=("judge", "vectors"))
RECORDS = {"running": RUNNING, "kept": KEPT, "unkept": UNKEPT}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_each_version_is_read(name: str) -> None:
    for version in READ:
        assert read((GOLDEN / f"v{version}-{name}.msgpack").read_bytes()) == RECORDS[name]


@pytest.mark.parametrize("name", [*RECORDS, "beside"])
def test_a_record_is_written_as_it_was(name: str) -> None:
    record = {**RECORDS, "beside": BESIDE}[name]
    raw = (GOLDEN / f"v{VERSION}-{name}.msgpack").read_bytes()

    assert (record.write(), read(raw)) == (raw, record)


@pytest.mark.parametrize(
    "raw",
    [
        msgspec.msgpack.encode((VERSION + 1, "done", b"", "x")),
        msgspec.msgpack.encode((VERSION + 1, *msgspec.msgpack.decode(KEPT.write())[1:])),
        *(b"", b"\xc1", b"\x91\xa1x"),
    ],
)
def test_what_a_newer_gateway_wrote_counts_as_running(raw: bytes) -> None:
    found = read(raw)

    assert found.unknown
    assert found.state == "running"
