"""What is told of each note that a ledger's writers wrote about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from rigs.ledger import KEY, WALL, ledger, request, segments

from modgate.ledger.frames import Kind, Tampered
from modgate.ledger.gaps import Gap, gaps
from modgate.ledger.records import Noted


def noted(directory: Path, *notes: Noted) -> None:
    """A chain that holds these notes, and ends in order."""
    with ledger(directory) as made, made._lock:
        for note in notes:
            made._journal.note(note)


def noted_of(what: str, **members: object) -> Noted:
    return msgspec.convert({"v": 1, "wall": WALL, "what": what, "segment": 7, **members}, Noted)


def told(directory: Path) -> list[Gap]:
    return list(gaps(directory, KEY))


@dataclass(frozen=True)
class Said:
    note: Noted
    lost: bool
    text: str
    bound: str = ""


KERNEL = "nothing that was handed to the kernel is lost"
UNSYNCED = "frames of the last 20 ms, and of two syncs, before it did; "
SAID = [
    Said(
        noted_of("unsynced"),
        True,
        "the disk did not keep segment 7: what was written in it since the last sync is lost if "
        "the machine went down before the next one",
    ),
    Said(
        noted_of("resumed", frames=3),
        False,
        "the disk takes frames again; 3 bills had waited in memory",
    ),
    Said(
        noted_of("missing"),
        True,
        "segment 7 was gone when the machine came up again, and nothing says who took it: it was "
        "dropped right before, or moved away",
        "what of it, and of those before it, no sink had",
    ),
    Said(
        noted_of("recovered", crashed=2),
        False,
        "segment 7: the gateway was killed, the machine stayed up; "
        "2 requests were ended as gateway_crash",
        KERNEL,
    ),
    Said(
        noted_of("recovered", size_bytes=9),
        True,
        "segment 7: the gateway was killed, the machine stayed up, 9 torn bytes were cut off; "
        "0 requests were ended as gateway_crash",
        KERNEL,
    ),
    Said(
        noted_of("recovered", size_bytes=9, rebooted=True, sync_s=0.02, until=WALL),
        True,
        "segment 7: the machine went down, 9 torn bytes were cut off; "
        "0 requests were ended as gateway_crash",
        f"{UNSYNCED}the last that is here is of 2026-01-01T00:00:00.000Z",
    ),
    Said(
        noted_of("recovered", rebooted=True, sync_s=0.02, until=WALL),
        True,
        "segment 7: the machine went down; 0 requests were ended as gateway_crash",
        f"{UNSYNCED}the last that is here is of 2026-01-01T00:00:00.000Z",
    ),
    Said(
        noted_of("dropped", frames=4, size_bytes=90, acknowledged=True),
        False,
        "segment 7 was dropped, every sink had it",
    ),
    Said(
        noted_of("dropped", frames=4, missed=4, size_bytes=90),
        True,
        "segment 7 was dropped before every sink had it",
        "4 frames, 90 bytes",
    ),
    Said(
        noted_of("behind", sink="books", writer="gw-1", size_bytes=90, until=WALL),
        True,
        "books had seen segment 7 of gw-1 up to byte 90, which is not here: the end was cut, or an "
        "older copy was put back",
        "what came after the copy and before 2026-01-01T00:00:00.000Z in no sink",
    ),
    Said(
        noted_of("replaced", sink="books", writer="gw-1", until=WALL),
        True,
        "books knows gw-1, whose directory is not here",
        "what it wrote after 2026-01-01T00:00:00.000Z, when it was last heard",
    ),
]


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.note.what}-{said.lost}")
def test_each_note_is_told_with_what_may_be_missing(said: Said, tmp_path: Path) -> None:
    noted(tmp_path, said.note)

    assert told(tmp_path) == [
        Gap(at=WALL, what=said.note.what, lost=said.lost, text=said.text, bound=said.bound)
    ]


def test_an_orderly_end_and_a_note_of_a_later_version_are_no_gaps(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")
        made._journal.append(Kind.ANCHOR, msgspec.msgpack.encode({"v": 9, "what": "eclipsed"}))

    assert told(tmp_path) == []


def test_what_earlier_notes_do_not_explain_of_what_was_lost_is_told_by_itself(
    tmp_path: Path,
) -> None:
    noted(
        tmp_path,
        noted_of("resumed", frames=5),  # of nothing that was dropped
        noted_of("dropped", frames=4, missed=10),
        noted_of("dropped", frames=9, missed=10, acknowledged=True),
        noted_of("dropped", frames=2, missed=15),
    )

    assert [(gap.bound, gap.lost) for gap in told(tmp_path)] == [
        ("", False),
        ("6 frames", True),
        ("4 frames, 0 bytes", True),
        ("", False),
        ("3 frames", True),
        ("2 frames, 0 bytes", True),
    ]


def test_a_segment_that_was_taken_away_and_put_back_is_no_loss(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")
        [newest] = segments(tmp_path)
        away = newest.rename(tmp_path / "away")
        made._look_for_a_removed_segment()
        assert made.retry()
        assert [gap.lost for gap in told(tmp_path)] == [True, False]
        away.rename(newest)

    assert [gap.lost for gap in told(tmp_path)] == [False, False]
    assert "is here again" in told(tmp_path)[0].text


def test_a_segment_that_is_dropped_while_gaps_are_read_is_passed_over(tmp_path: Path) -> None:
    for _ in range(3):
        noted(tmp_path, noted_of("unsynced"))
    found = gaps(tmp_path, KEY)
    first = next(found)
    segments(tmp_path)[1].unlink()

    assert [first.what, *(gap.what for gap in found)] == ["unsynced"] * 2


def test_a_torn_end_is_only_told_by_the_next_start_but_nothing_else_may_be_torn(
    tmp_path: Path,
) -> None:
    for _ in range(2):
        noted(tmp_path, noted_of("unsynced"))
    oldest, newest = segments(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-5])
    assert [gap.what for gap in told(tmp_path)] == ["unsynced"] * 2
    oldest.write_bytes(oldest.read_bytes()[:-5])

    with pytest.raises(Tampered, match=f"of {oldest.name}"):
        told(tmp_path)
