"""The audit log: counted denials, two bounded chains, and the proof that nobody touched them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from zlib import crc32

import pytest
from msgspec.msgpack import encode
from rigs.ledger import calls_another_kind

from modgate.api.secret import Secret
from modgate.api.sink import Receipt, Ruling, Verdict
from modgate.ledger import audit as module
from modgate.ledger.audit import FLUSH_S, Audit, AuditChain
from modgate.ledger.audit_reader import AuditReader, Proof
from modgate.ledger.chain_reader import Broken
from modgate.ledger.frames import (
    FRAME_HEAD,
    ChainMac,
    Kind,
    SegmentHeader,
    Tampered,
    frame,
    read_head,
    segment_head,
)
from modgate.ledger.records import Audited, Noted
from modgate.testing.clock import FakeClock

KEY = Secret("an audit key of the tests")
GOLDEN = Path(__file__).parent / "golden" / "audit" / "segment-changes-00000001.ledger"
BOUND = 64 << 10
GONE = bytes(range(16))  # a chain value of a segment that was dropped


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def audit(tmp_path: Path, clock: FakeClock) -> Iterator[Audit]:
    opened = Audit(tmp_path, KEY, clock, max_bytes=BOUND)
    yield opened
    opened.close()


def read(
    directory: Path, what: AuditChain = "changes", *, anchor: Path | None = None, key: Secret = KEY
) -> tuple[list[Audited], Proof]:
    reader = AuditReader(directory, what, key, anchor=anchor)
    return list(reader.records()), reader.proof


def receipt(status: int, error: str, tenant: str = "acme", *rulings: Ruling) -> Receipt:
    return Receipt(
        request_id="r",
        wall=0.0,
        duration_s=0.0,
        ending="refused",
        status=status,
        tenant=tenant,
        error=error,
        rulings=rulings,
    )


def ruling(code: str, *, shadow: bool = False, verdict: Verdict = "deny") -> Ruling:
    return Ruling(policy="guard", verdict=verdict, seconds=0.0, code=code, shadow=shadow)


def test_changes_are_read_back_in_order_with_who_made_them(tmp_path: Path, audit: Audit) -> None:
    audit.changed("tenant.set", actor="ann", subject="acme", detail="{}", epoch=7, wall=3.0)
    audit.changed("config.reload", actor="SIGHUP", subject="modgate.toml")
    assert audit.epoch == 7
    audit.close()

    found, proof = read(tmp_path)

    assert [(each.actor, each.action, each.subject) for each in found] == [
        ("ann", "tenant.set", "acme"),
        ("SIGHUP", "config.reload", "modgate.toml"),
    ]
    assert (found[0].epoch, found[0].wall, proof.records) == (7, 3.0, 2)


def test_denials_are_counted_by_tenant_and_reason_and_written_once_a_minute(
    tmp_path: Path, audit: Audit, clock: FakeClock
) -> None:
    for _ in range(5000):
        audit.saw(receipt(429, "rate_limit_exceeded"))
        audit.saw(receipt(401, "invalid_api_key", ""))
    audit.saw(receipt(404, "model_not_found"))
    audit.saw(receipt(200, ""))
    audit.saw(receipt(400, "invalid_value"))
    audit.saw(receipt(502, "upstream_error"))
    audit.flush()
    early, _ = read(tmp_path, "denied")
    clock.advance(FLUSH_S)
    audit.flush()
    audit.flush()
    found, _ = read(tmp_path, "denied")

    assert early == []
    assert [(each.tenant, each.subject, each.count) for each in found] == [
        ("", "invalid_api_key", 5000),
        ("acme", "model_not_found", 1),
        ("acme", "rate_limit_exceeded", 5000),
    ]
    assert found[0].wall - found[0].since == FLUSH_S


def test_what_a_policy_denies_is_counted_and_its_shadow_is_not(
    tmp_path: Path, audit: Audit
) -> None:
    audit.saw(receipt(400, "flagged", "acme", ruling("flagged"), ruling("quiet", shadow=True)))
    audit.saw(receipt(502, "upstream_error", "acme", ruling("narrowed", verdict="narrow")))
    audit.close()

    assert [each.subject for each in read(tmp_path, "denied")[0]] == ["flagged"]


def test_made_up_reasons_cannot_fill_memory_or_disk(
    tmp_path: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REASONS_AT_MOST", 10)
    for number in range(10_000):
        audit.denied("acme", f"reason_{number}")
    audit.close()
    found, _ = read(tmp_path, "denied")

    assert len(found) == 11
    assert sum(each.count for each in found) == 10_000
    assert max(found, key=lambda each: each.count).subject == "other"


def test_a_flood_of_denials_pushes_out_no_change_and_stays_within_the_bound(
    tmp_path: Path, audit: Audit
) -> None:
    audit.changed("tenant.set", actor="ann", subject="acme")
    for turn in range(300):
        for reason in range(20):
            audit.denied("acme", f"turn_{turn}_{reason}")
        audit.flush(at_once=True)
    audit.close()
    changes, _ = read(tmp_path)
    denied, proof = read(tmp_path, "denied")
    size = sum(path.stat().st_size for path in tmp_path.glob("*.ledger"))

    assert [each.subject for each in changes] == ["acme"]
    assert size <= BOUND
    assert 100 < len(denied) < 6000
    assert proof.dropped > 0
    assert denied[-1].subject.startswith("turn_299_")


def test_the_epoch_of_the_last_stored_change_outlives_the_writer(
    tmp_path: Path, audit: Audit, clock: FakeClock
) -> None:
    audit.changed("key.new", actor="ann", epoch=41)
    audit.changed("config.reload", actor="SIGHUP")
    audit.close()
    again = Audit(tmp_path, KEY, clock, max_bytes=BOUND)
    again.close()

    assert again.epoch == 41


# --- somebody who edits


def written(directory: Path, count: int = 300, anchor: Path | None = None) -> None:
    """Enough for several segments, none of them dropped."""
    opened = Audit(directory, KEY, FakeClock(), max_bytes=16 << 20, anchor=anchor)
    for number in range(count):
        opened.changed("tenant.set", actor="ann", subject=f"tenant {number}", detail="x" * 8000)
    opened.close()


def test_an_edited_record_is_found_even_when_its_checksum_is_made_anew(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = tmp_path / "segment-changes-00000001.ledger"
    data = bytearray(path.read_bytes())
    _, offset = read_head(bytes(data))
    length = int.from_bytes(data[offset + 2 : offset + 6], "little")
    payload = data[offset + FRAME_HEAD : offset + FRAME_HEAD + length].replace(b"ann", b"bob")
    data[offset + FRAME_HEAD : offset + FRAME_HEAD + length] = payload
    data[offset + 6 : offset + 10] = crc32(payload).to_bytes(4, "little")
    path.write_bytes(data)

    assert b"bob" in path.read_bytes()
    with pytest.raises(Broken, match="the chain is broken"):
        read(tmp_path)
    with pytest.raises(Tampered):
        Audit(tmp_path, KEY, FakeClock(), max_bytes=BOUND)


def test_a_record_whose_frame_says_that_it_is_none_is_found(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = tmp_path / "segment-changes-00000001.ledger"
    calls_another_kind(path, Kind.AUDIT, Kind.OPEN)

    with pytest.raises(Broken, match="the chain is broken"):
        read(tmp_path)


def test_a_log_whose_oldest_segment_was_left_without_a_frame_is_whole(tmp_path: Path) -> None:
    payload = encode(Noted(wall=1.0, what="dropped", segment=1, last=GONE))
    heads = [
        segment_head(SegmentHeader(writer="audit/w", boot="b", number=number, last=GONE))
        for number in (2, 3)
    ]
    noted = frame(Kind.ANCHOR, payload, ChainMac(KEY).after(GONE, payload))
    (tmp_path / "segment-changes-00000002.ledger").write_bytes(heads[0])
    (tmp_path / "segment-changes-00000003.ledger").write_bytes(heads[1] + noted)

    assert read(tmp_path)[1].dropped == 1


@pytest.mark.parametrize("seen", [0, 1])
def test_a_log_that_drops_what_is_read_next_is_read_from_what_is_left(
    tmp_path: Path, audit: Audit, seen: int
) -> None:
    def segments() -> list[str]:
        return [each.name for each in sorted(tmp_path.glob("segment-changes-*"))]

    def grow(until: Callable[[], bool]) -> None:
        while not until():
            audit.changed("tenant.set", actor="ann", subject=str(next(subjects)), detail="x" * 500)

    subjects = count()
    grow(lambda: len(segments()) == 3)
    were = segments()
    reader = AuditReader(tmp_path, "changes", KEY)
    records = reader.records()
    first = [int(each.subject) for each in islice(records, seen)]
    grow(lambda: not set(were) & set(segments()))
    rest = [int(each.subject) for each in records]

    assert first == list(range(seen))
    assert rest[-len(read(tmp_path)[0]) :] == [int(each.subject) for each in read(tmp_path)[0]]
    assert reader.proof.head == read(tmp_path)[1].head


@pytest.mark.parametrize("gone", [slice(1, 2), slice(1, None)])
def test_what_somebody_else_removes_while_it_is_read_is_found(tmp_path: Path, gone: slice) -> None:
    written(tmp_path)
    records = AuditReader(tmp_path, "changes", KEY).records()
    next(records)
    for path in sorted(tmp_path.glob("segment-changes-*"))[gone]:
        path.unlink()

    with pytest.raises(Broken, match="segment 2 is missing, and the gateway did not drop it"):
        list(records)


@pytest.mark.parametrize(
    ("number", "part"),
    [(1, "the gateway did not drop it"), (2, "missing, or was cut, before segment-changes-")],
)
def test_a_removed_segment_is_found(tmp_path: Path, number: int, part: str) -> None:
    written(tmp_path)
    assert len(list(tmp_path.glob("segment-changes-*"))) >= 3
    (tmp_path / f"segment-changes-{number:08}.ledger").unlink()

    with pytest.raises(Broken, match=part):
        read(tmp_path)


def test_a_cut_tail_is_found_by_the_anchor(tmp_path: Path) -> None:
    log, anchor = tmp_path / "log", tmp_path / "anchor"
    written(log, 3, anchor)
    path = log / "segment-changes-00000001.ledger"
    found, _ = read(log, anchor=anchor)
    path.write_bytes(path.read_bytes()[:-5000])

    assert len(found) == 3
    assert len(read(log)[0]) == 2
    with pytest.raises(Broken, match="that the anchor saw"):
        read(log, anchor=anchor)


def test_another_key_proves_nothing(tmp_path: Path) -> None:
    written(tmp_path, 1)

    with pytest.raises(Broken):
        read(tmp_path, key=Secret("another"))


def test_the_log_as_version_1_wrote_it_is_read(tmp_path: Path) -> None:
    (tmp_path / GOLDEN.name).write_bytes(GOLDEN.read_bytes())

    found, proof = read(tmp_path)

    assert [each.action for each in found] == ["tenant.set", "key.rotate"]
    assert (found[0].actor, found[0].subject, found[0].epoch) == ("ann", "acme", 1)
    assert proof.records == 2
