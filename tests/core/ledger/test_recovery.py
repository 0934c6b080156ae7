from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.msgpack import encode
from rigs.ledger import (
    KEY,
    WALL,
    Stopped,
    calls_another_kind,
    kill,
    ledger,
    notes_of,
    opened,
    receipt,
    request,
    segments,
)

from modgate.api.secret import Secret
from modgate.ledger.frames import FRAME_HEAD, Kind, Tampered, frame, read_head
from modgate.ledger.reader import rows
from modgate.ledger.records import Ended
from modgate.ledger.segments import frames_of
from modgate.ledger.verify import verify

quick = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read(directory: Path) -> list[Ended]:
    return list(rows(directory, KEY))


def ids(directory: Path) -> list[str]:
    return [row.id for row in read(directory)]


def test_a_request_that_a_crash_cut_off_gets_an_end(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "done")
        opened(made, "cut off", tokens=55)
    with ledger(tmp_path, clock=Stopped(60.0)) as made:
        assert made.recovered == 1

    found = read(tmp_path)[-1]
    assert (found.id, found.ending, found.by, found.exact) == (
        "cut off",
        "gateway_crash",
        "estimate",
        False,
    )
    assert found.units == {"llm.output_tokens": 55, "llm.requests": 1}
    assert found.wall == WALL
    assert (found.tenant, found.key_id, found.model, found.modality) == (
        "acme",
        "k1",
        "chat",
        "llm",
    )


def test_what_was_cut_behind_an_orderly_end_is_told(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "done")
    with segments(tmp_path)[-1].open("ab") as file:
        file.write(b"\1")
    with ledger(tmp_path) as made:
        assert made.cut_bytes == 1

    assert "recovered" in [note.what for note in notes_of(tmp_path)]


def test_a_request_that_another_model_serves_is_billed_as_that(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        opened(made, "cut off", tokens=55)
        opened(made, "cut off", model="small", tokens=40)
    with ledger(tmp_path, clock=Stopped(60.0)) as made:
        assert made.recovered == 1

    [found] = read(tmp_path)
    assert (found.model, found.units) == ("small", {"llm.output_tokens": 40, "llm.requests": 1})


def test_what_was_recovered_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ledger(tmp_path) as made:
        opened(made, "r")
        opened(made, "s")
    for _ in range(2):
        with ledger(tmp_path):
            pass

    said = [(each.levelname, vars(each).get("requests")) for each in caplog.records]
    assert said == [("WARNING", 2)]


def test_the_last_touch_is_the_bill_of_a_crash(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        opened(made, "r")
        made.touched("r", {"llm.output_tokens": 10})
        made.touched("r", {"llm.output_tokens": 30})
    with ledger(tmp_path):
        pass

    assert read(tmp_path)[-1].units == {"llm.output_tokens": 30, "llm.requests": 1}


@pytest.mark.parametrize(("again", "tokens"), [(False, {}), (True, {"llm.output_tokens": 55})])
def test_what_is_known_to_have_used_nothing_is_billed_nothing_until_it_is_opened_again(
    tmp_path: Path, again: bool, tokens: dict[str, int]
) -> None:
    with ledger(tmp_path) as made:
        opened(made, "r", tokens=55)
        made.touched("r", {})
        if again:
            opened(made, "r", tokens=55)
    with ledger(tmp_path):
        pass

    assert read(tmp_path)[-1].units == {**tokens, "llm.requests": 1}


def test_a_crash_is_recovered_once(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        opened(made, "r")
    for expected in (1, 0, 0):
        with ledger(tmp_path) as made:
            assert made.recovered == expected

    assert ids(tmp_path) == ["r"]


@pytest.mark.parametrize(("again", "tokens"), [("chat", 30), ("small", 40)])
def test_what_was_touched_is_billed_as_long_as_the_same_model_serves(
    tmp_path: Path, again: str, tokens: int
) -> None:
    with ledger(tmp_path) as made:
        opened(made, "cut off", tokens=55)
        made.touched("cut off", {"llm.output_tokens": 30})
        opened(made, "cut off", model=again, tokens=40)
    with ledger(tmp_path):
        pass

    [found] = read(tmp_path)
    assert (found.model, found.units["llm.output_tokens"]) == (again, tokens)


def test_a_segment_that_is_torn_before_the_newest_stops_the_start_and_stays_as_it_is(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        with ledger(tmp_path) as made:
            request(made, name)
    oldest = segments(tmp_path)[0]
    torn = oldest.read_bytes()[:-5]
    oldest.write_bytes(torn)

    with pytest.raises(Tampered, match=oldest.name), ledger(tmp_path):
        pass
    assert oldest.read_bytes() == torn


def test_a_start_knows_when_the_last_was_heard_and_what_each_segment_held(tmp_path: Path) -> None:
    with ledger(tmp_path, boot="one") as made:
        for name in "abc":
            request(made, name)
    [first] = segments(tmp_path)
    size = first.stat().st_size
    with ledger(tmp_path, boot="one") as made:
        request(made, "d")
        kill(made)
    with ledger(
        tmp_path, boot="two", segment_bytes=2_000, max_bytes=4_000, on_full="drop-oldest"
    ) as made:
        lost = made.dropped_unacknowledged
    notes = {note.what: note for note in notes_of(tmp_path) if note.segment < 3}

    dropped, recovered = notes["dropped"], notes["recovered"]
    assert (dropped.segment, dropped.frames, dropped.size_bytes) == (1, 2 * 3 + 1, size)
    assert lost == dropped.missed == dropped.frames
    assert (recovered.rebooted, recovered.until) == (True, WALL + receipt("d").duration_s)


def test_a_header_that_is_all_that_is_left_is_what_the_next_segment_follows(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        with ledger(tmp_path) as made:
            request(made, name)
    first, second = segments(tmp_path)
    _, end = read_head(second.read_bytes())
    os.truncate(second, end)
    first.unlink()
    with ledger(tmp_path) as made:
        request(made, "c")

    assert verify(tmp_path, KEY, first=2).problems == []
    assert ids(tmp_path) == ["c"]


def test_a_touch_of_a_request_that_was_never_opened_bills_nobody(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        made.touched("never sent", {"llm.output_tokens": 1})
        request(made, "ended")
        made.touched("ended", {"llm.output_tokens": 1})
    with ledger(tmp_path) as made:
        assert made.recovered == 0

    assert ids(tmp_path) == ["ended"]


def test_an_end_without_an_opening_is_a_row(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        made.ended(receipt("refused", tokens=0, ending="refused"))

    (row,) = read(tmp_path)
    assert row.units == {"llm.requests": 1}


@pytest.mark.parametrize("left", [0, 1, 11, 20])
def test_a_crash_before_a_segment_had_its_header_stops_no_later_start(
    tmp_path: Path, left: int
) -> None:
    with ledger(tmp_path) as made:
        request(made, "before")
    with ledger(tmp_path):
        pass
    newest = segments(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:left])
    for name in ("one", "two"):
        with ledger(tmp_path) as made:
            request(made, name)

    assert ids(tmp_path) == ["before", "one", "two"]


def test_a_torn_tail_is_cut_and_reported(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")
    (file,) = segments(tmp_path)
    ends = [each.end for _, each in frames_of(file, KEY) if each.kind is Kind.END]
    file.write_bytes(file.read_bytes()[: ends[-1] - 5])
    with ledger(tmp_path) as made:
        assert made.cut_bytes > 0
        assert made.recovered == 1

    assert [(row.id, row.ending) for row in read(tmp_path)] == [("a", "gateway_crash")]


@quick
@given(st.integers(0, 1_000_000))
def test_wherever_a_crash_cuts_each_opened_request_has_exactly_one_end(
    tmp_path: Path, at: int
) -> None:
    shutil.rmtree(tmp_path)
    with ledger(tmp_path) as made:
        for index in range(6):
            opened(made, f"r{index}")
            made.touched(f"r{index}", {"llm.output_tokens": 3})
            if index:
                made.ended(receipt(f"r{index - 1}"))
    (file,) = segments(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: at % (len(data) + 1)])
    seen_open, seen_end = set(), set()
    try:
        for _, each in frames_of(file, KEY):
            if each.kind is not Kind.ANCHOR:
                seen = seen_open if each.kind is Kind.OPEN else seen_end
                seen.add(msgspec.msgpack.decode(each.payload)["id"])
    except Exception:  # noqa: BLE001  # the torn tail
        pass
    with ledger(tmp_path) as made:
        request(made, "after")

    found = read(tmp_path)
    assert sorted(row.id for row in found) == sorted({*seen_open, "after"})
    assert {row.id for row in found if row.ending == "ok"} == {*seen_end, "after"}


@pytest.mark.parametrize("fix_checksum", [True, False])
@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_an_edited_byte_stops_the_start_and_nothing_is_cut(
    tmp_path: Path, which: str, fix_checksum: bool
) -> None:
    for name in ("a", "b"):
        with ledger(tmp_path) as made:
            request(made, name)
            request(made, f"{name}2")
    file = segments(tmp_path)[0 if which == "oldest" else -1]
    data = file.read_bytes()
    first = next(iter(frames_of(file, KEY)))[1]
    begin = first.end - len(first.payload) - FRAME_HEAD
    payload = bytearray(first.payload)
    payload[-1] ^= 1
    edited = frame(first.kind, bytes(payload), first.chain)
    if not fix_checksum:
        edited = data[begin : begin + FRAME_HEAD] + bytes(payload)
    file.write_bytes(data[:begin] + edited + data[first.end :])
    before = file.read_bytes()

    with pytest.raises(Tampered), ledger(tmp_path):
        pass
    assert file.read_bytes() == before


def test_an_end_whose_frame_says_that_it_is_none_stops_the_start(tmp_path: Path) -> None:
    """Its request would be taken for one that a crash cut, and billed by its reserve once more."""
    with ledger(tmp_path) as made:
        request(made, "a")
    file = segments(tmp_path)[0]
    begin = calls_another_kind(file, Kind.END, Kind.ADJUST)  # which is one bit

    with pytest.raises(Tampered, match=f"at byte {begin} of {file.name}"):
        read(tmp_path)
    with pytest.raises(Tampered, match=f"at byte {begin} of {file.name}"), ledger(tmp_path):
        pass


def test_another_key_stops_the_start(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")

    with pytest.raises(Tampered), ledger(tmp_path, key=Secret("another")):
        pass


@pytest.mark.parametrize("with_requests", [True, False])
def test_a_segment_taken_out_of_the_middle_stops_the_start(
    tmp_path: Path, with_requests: bool
) -> None:
    with ledger(tmp_path):
        pass
    for name in "abc":
        with ledger(tmp_path) as made:
            if with_requests or name == "b":
                request(made, name)
    segments(tmp_path)[2].unlink()

    with pytest.raises(Tampered), ledger(tmp_path):
        pass


def test_segments_that_were_moved_away_from_the_front_are_not_missed(tmp_path: Path) -> None:
    for name in "abc":
        with ledger(tmp_path) as made:
            request(made, name)
    segments(tmp_path)[0].unlink()
    with ledger(tmp_path) as made:
        request(made, "d")

    assert ids(tmp_path) == ["b", "c", "d"]


def test_a_torn_segment_before_the_newest_is_an_alarm(tmp_path: Path) -> None:
    for name in "ab":
        with ledger(tmp_path) as made:
            request(made, name)
    first = segments(tmp_path)[0]
    first.write_bytes(first.read_bytes()[:-1])

    with pytest.raises(Tampered), ledger(tmp_path):
        pass


def test_a_directory_that_is_not_there_is_an_empty_ledger(tmp_path: Path) -> None:
    assert read(tmp_path / "nothing") == []


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hands off")
    with ledger(tmp_path) as made:
        request(made, "a")

    assert ids(tmp_path) == ["a"]
    assert (tmp_path / "notes.txt").read_text() == "hands off"


def test_a_note_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")
        made._put(Kind.ANCHOR, encode({"v": 9, "what": "what version 9 knows"}))
        request(made, "b")
    with ledger(tmp_path) as made:
        assert made.recovered == 0

    assert ids(tmp_path) == ["a", "b"]
