"""The bytes that lie on disk.  A change of these is a new version, with a reader for both."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rigs.ledger import KEY, WALL, receipt

from modgate.api.sink import Attempt
from modgate.ledger.frames import Kind, SegmentHeader, chained, frame, segment_head
from modgate.ledger.reader import rows, sums
from modgate.ledger.records import Opened, crashed, ended_of

GOLDEN = Path(__file__).parent / "golden"
HEADER = SegmentHeader(writer="4711", boot="0123456789abcdef", number=1, last=bytes(16))
TRIED = Attempt(
    call=0,
    backend="eu-1",
    region="eu",
    model="Qwen/Qwen3-32B",
    began_s=0.125,
    span="00f067aa0ba902b7",
    family="vllm",
    operation="chat",
    sent=True,
    first_s=0.25,
    ended_s=1.25,
    state="ok",
    status=200,
)
OPENED = Opened(
    id="req_1",
    wall=WALL,
    tenant="acme",
    key_id="k1",
    model="chat",
    modality="llm",
    reserved={"llm.output_tokens": 100},
)
LOST = msgspec.structs.replace(OPENED, id="req_2")
TOUCHED = Opened(id="req_2", wall=WALL + 5, touched={"llm.output_tokens": 12})
ENDED = ended_of(receipt("req_1", attempts=(TRIED,)))
CRASHED = crashed(LOST, TOUCHED.touched, LOST.wall)


def segment() -> bytes:
    """A segment with a frame of each sort that is written today."""
    data, last = segment_head(HEADER), HEADER.last
    records = (
        (Kind.OPEN, OPENED),
        (Kind.OPEN, LOST),
        (Kind.OPEN, TOUCHED),
        (Kind.END, ENDED),
        (Kind.END, CRASHED),
    )
    for kind, record in records:
        payload = msgspec.msgpack.encode(record)
        last = chained(KEY, last, payload)
        data += frame(kind, payload, last)
    return data


def test_the_bytes_on_disk_are_those_of_the_golden_file() -> None:
    assert segment() == (GOLDEN / "segment-00000001.ledger").read_bytes()


def test_the_golden_file_is_read_as_it_was_meant() -> None:
    assert list(rows(GOLDEN, KEY)) == [ENDED, CRASHED]
    assert [(each.unit, each.amount, each.exact) for each in sums(GOLDEN, KEY)] == [
        ("llm.output_tokens", 19, False),
        ("llm.requests", 1, True),
    ]
