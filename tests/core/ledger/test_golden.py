"""The bytes that lie on disk.  A change of these is a new version, with a reader for both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace
from rigs.ledger import KEY, WALL, receipt

from modgate.api.sink import Attempt
from modgate.ledger.frames import ChainMac, Kind, SegmentHeader, frame, segment_head
from modgate.ledger.reader import adjustments, rows
from modgate.ledger.records import Adjusted, Noted, Opened, crashed, ended_of
from modgate.ledger.segments import frames_of, note_of

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
    v=1,
    id="req_1",
    wall=WALL,
    tenant="acme",
    key_id="k1",
    model="chat",
    modality="llm",
    reserved={"llm.output_tokens": 100},
)
LOST = replace(OPENED, id="req_2")
TOUCHED = Opened(v=1, id="req_2", wall=WALL + 5, touched={"llm.output_tokens": 12})
ENDED = ended_of(receipt("req_1", attempts=(TRIED,)))
CRASHED = replace(crashed(LOST, TOUCHED.touched, LOST.wall), units={"llm.output_tokens": 12})


ADJUSTED = Adjusted(
    id="req_1",
    sequence=1,
    wall=WALL + 86_400,
    reason="correction",
    tenant="acme",
    key_id="k1",
    model="chat",
    modality="llm",
    units={"llm.output_tokens": -3},
    note="the engine counted twice",
)
NOTED = Noted(
    wall=WALL + 90,
    what="recovered",
    segment=1,
    size_bytes=17,
    crashed=1,
    rebooted=True,
    sync_s=0.02,
    until=WALL + 80,
)
Records = Sequence[tuple[Kind, msgspec.Struct]]
FIRST: Records = (
    (Kind.OPEN, OPENED),
    (Kind.OPEN, LOST),
    (Kind.OPEN, TOUCHED),
    (Kind.END, ENDED),
    (Kind.END, CRASHED),
)
SECOND: Records = ((Kind.ANCHOR, NOTED), (Kind.ADJUST, ADJUSTED))
# Of a caller whose data is kept to regions.
KEPT = ended_of(replace(receipt("req_3", attempts=(TRIED,)), regions=frozenset({"eu", "ch"})))
THIRD: Records = (
    (Kind.OPEN, replace(OPENED, id="req_3", regions=("ch", "eu"))),
    (Kind.END, KEPT),
    (Kind.ADJUST, replace(ADJUSTED, id="req_3", regions=("ch", "eu"))),
)


def segment(header: SegmentHeader, records: Records) -> tuple[bytes, bytes]:
    """A segment, and the chain that it ends with."""
    data, last = segment_head(header), header.last
    for kind, record in records:
        payload = msgspec.msgpack.encode(record)
        last = ChainMac(KEY).after(last, payload)
        data += frame(kind, payload, last)
    return data, last


def test_the_bytes_on_disk_are_those_of_the_golden_files() -> None:
    first, last = segment(HEADER, FIRST)
    named = SegmentHeader(writer="gw-1.89abcdef", boot="boot/0123456789abcdef", number=2, last=last)
    second, last = segment(named, SECOND)
    third, _ = segment(replace(named, number=3, last=last), THIRD)

    assert first == (GOLDEN / "segment-00000001.ledger").read_bytes()
    assert second == (GOLDEN / "segment-00000002.ledger").read_bytes()
    assert third == (GOLDEN / "segment-00000003.ledger").read_bytes()


def test_the_golden_files_are_read_as_they_were_meant() -> None:
    assert list(rows(GOLDEN, KEY)) == [ENDED, CRASHED, KEPT]
    assert [each.id for each in adjustments(GOLDEN, KEY)] == ["req_1", "req_3"]
    assert KEPT.regions == ("ch", "eu")
    frames = [each for _, each in frames_of(GOLDEN / "segment-00000002.ledger", KEY)]
    assert note_of(frames[0]) == NOTED
    assert msgspec.msgpack.decode(frames[1].payload, type=Adjusted) == ADJUSTED
