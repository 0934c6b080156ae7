"""What an editor of the files can do is found: by the chain, or by who saw its head."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from click.testing import CliRunner, Result
from rigs.ledger import KEY, calls_another_kind, kill, ledger, opened, request, segments
from rigs.sinks import shipping, until

from modgate.api.shipment import Cursor
from modgate.cli import main
from modgate.ledger.anchor import read_anchor
from modgate.ledger.frames import FRAME_HEAD, Kind, frame, read_head
from modgate.ledger.gaps import gaps
from modgate.ledger.segments import frames_of
from modgate.ledger.sqlite_sink import FILE, SqliteConfig, SqliteSink
from modgate.ledger.verify import Report, verify
from modgate.ledger.witness import Witness, cursor_of, holds

ANCHOR = "elsewhere.anchor"


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A state directory: a ledger of some segments, its key, a sink that has it, an anchor."""
    state = tmp_path / "state"
    with ledger(
        state / "ledger", segment_bytes=3_000, anchor=tmp_path / ANCHOR, name="gw-1"
    ) as made:
        (state / "ledger-key").write_text(KEY.reveal())
        with shipping(
            made, lambda: SqliteSink(SqliteConfig(), folder=state), deadline_s=5.0
        ) as shipper:
            for index in range(20):
                request(made, f"r{index}")
            until(lambda: shipper.lag.frames == 0)
            made.close()
    return state


def ledger_command(*words: str) -> Result:
    return CliRunner().invoke(main, ["ledger", *words])


def verified(books: Path, *words: str) -> Result:
    return ledger_command("verify", "--directory", str(books), *words)


def witnessed(books: Path) -> Report:
    said = read_anchor(books.parent / ANCHOR)
    assert said is not None
    return verify(books / "ledger", KEY, [Witness(name="anchor", cursor=cursor_of(said))])


def test_a_ledger_that_nobody_touched_is_whole(books: Path) -> None:
    done = verified(books, "--anchor", str(books.parent / ANCHOR))

    assert done.exit_code == 0, done.output
    assert "41 frames in" in done.output
    assert "2 of 2 heads" in done.output
    assert witnessed(books).problems == []


def edited(file: Path, position: int) -> bytes:
    """A segment with one byte of a record changed, and the checksums of all frames made anew."""
    data = file.read_bytes()
    offset = read_head(data)[1]
    made = bytearray(data[:offset])
    for _, each in frames_of(file, KEY):
        begin = each.end - len(each.payload)
        payload = bytearray(each.payload)
        if begin <= position < each.end:
            payload[position - begin] ^= 1
        made += frame(each.kind, bytes(payload), each.chain)
    return bytes(made)


@pytest.mark.parametrize("which", [0, 1, -1])
def test_an_edited_byte_is_found_also_when_every_checksum_was_made_anew(
    books: Path, which: int
) -> None:
    file = segments(books / "ledger")[which]
    data = file.read_bytes()
    _, first = read_head(data)
    payloads = [
        position
        for _, each in frames_of(file, KEY)
        for position in range(each.end - len(each.payload), each.end, 11)
    ]
    for position in payloads:
        file.write_bytes(edited(file, position))
        assert verify(books / "ledger", KEY).problems, position
        file.write_bytes(data)

    assert first + FRAME_HEAD <= min(payloads)
    assert crc32(data) == crc32(file.read_bytes())
    file.write_bytes(edited(file, payloads[0]))
    done = verified(books)
    assert done.exit_code == 1
    assert f"{file.name}: the chain is broken" in done.output


@pytest.mark.parametrize("words", [("usage",), ("ledger", "export")])
def test_what_reads_a_broken_ledger_says_where_it_is_broken(
    books: Path, words: tuple[str, ...]
) -> None:
    file = segments(books / "ledger")[1]
    torn = file.read_bytes()[:-3]
    file.write_bytes(torn)
    (books / FILE).unlink()  # what a sink has is not read here

    done = CliRunner().invoke(main, [*words, "--directory", str(books)])

    assert isinstance(done.exception, SystemExit)
    assert re.search(rf"chain is broken at byte \d+ of {file.name}; see modgate", done.output)


def test_a_flipped_bit_that_makes_a_bill_look_like_none_is_seen_without_the_key(
    books: Path,
) -> None:
    file = segments(books / "ledger")[1]
    begin = calls_another_kind(file, Kind.END, Kind.ADJUST)
    (books / "ledger-key").unlink()
    (books / "usage.sqlite").unlink()

    done = CliRunner().invoke(main, ["usage", "--directory", str(books)])

    assert done.exit_code == 1
    assert f"chain is broken at byte {begin} of {file.name}; see modgate" in done.output


def test_an_edited_byte_of_a_frames_head_is_found(books: Path) -> None:
    file = segments(books / "ledger")[1]
    data = file.read_bytes()
    begins = [each.end - len(each.payload) - FRAME_HEAD for _, each in frames_of(file, KEY)]
    for position in (begin + byte for begin in begins[:4] for byte in range(FRAME_HEAD)):
        for flipped in (1, 3, 4, 6):  # one kind becomes each of the others
            made = bytearray(data)
            made[position] ^= flipped
            file.write_bytes(made)
            assert verify(books / "ledger", KEY).problems, (position, flipped)


def test_a_removed_record_is_found(books: Path) -> None:
    file = segments(books / "ledger")[1]
    data = file.read_bytes()
    middle = list(frames_of(file, KEY))[5][1]
    begin, end = middle.end - len(middle.payload) - FRAME_HEAD, middle.end
    file.write_bytes(data[:begin] + data[end:])

    assert verified(books).exit_code == 1


@pytest.mark.parametrize("which", [0, 2])
def test_a_removed_segment_is_found(books: Path, which: int) -> None:
    segments(books / "ledger")[which].unlink()
    done = verified(books)

    assert done.exit_code == 1
    assert "missing" in done.output


def test_segments_that_were_moved_away_on_purpose_are_no_alarm(books: Path) -> None:
    for file in segments(books / "ledger")[:2]:
        file.unlink()

    assert verified(books, "--first", "3").exit_code == 0


@pytest.mark.parametrize("how", ["frame", "torn", "segment", "all"])
def test_a_cut_tail_is_found_by_the_sink_and_by_the_anchor(books: Path, how: str) -> None:
    files = segments(books / "ledger")
    ends = [each.end for _, each in frames_of(files[-1], KEY)]
    if how == "frame":
        files[-1].write_bytes(files[-1].read_bytes()[: ends[-2]])
    elif how == "torn":
        files[-1].write_bytes(files[-1].read_bytes()[: ends[-1] - 3])
    else:
        for file in files[-1:] if how == "segment" else files:
            file.unlink()

    alone = verify(books / "ledger", KEY)
    assert alone.problems == []  # nothing inside tells
    assert witnessed(books).problems
    done = verified(books)
    assert done.exit_code == 1
    assert "sqlite saw segment" in done.output


def test_a_segment_that_is_dropped_while_it_is_compared_is_no_alarm(
    books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = segments(books / "ledger")[0]
    [*_, last] = frames_of(first, KEY)
    seen = Cursor(
        writer=last[0].writer, segment=1, offset=last[1].end, frames=9, last=last[1].chain, at=0.0
    )
    assert holds(books / "ledger", "", seen)
    read_bytes = Path.read_bytes

    def dropped(path: Path) -> bytes:
        path.unlink()
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", dropped)

    assert holds(books / "ledger", "", seen)


def test_the_ledgers_of_other_gateways_are_not_missed_here(books: Path) -> None:
    db = sqlite3.connect(books / "usage.sqlite")
    db.execute("INSERT INTO modgate_cursors VALUES ('gw-2.00000000', 9, 9, 9, x'00', 0)")
    db.commit()
    db.close()

    assert verified(books).exit_code == 0


def test_a_witness_that_cannot_be_asked_is_told(books: Path) -> None:
    (books / "usage.sqlite").write_text("no database")
    done = verified(books, "--anchor", "/none/anchor")

    assert done.exit_code == 1
    assert "there is no anchor in /none/anchor" in done.output
    assert "the sink sqlite does not answer: usage.sqlite: file is not a database" in done.output


def test_segments_that_the_gateway_dropped_are_explained_by_the_chain(tmp_path: Path) -> None:
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest") as made:
        for index in range(60):
            request(made, f"r{index}")

    report = verify(tmp_path, KEY)
    assert report.problems == []
    found = [gap for gap in gaps(tmp_path, KEY) if gap.what == "dropped"]
    assert found
    assert report.dropped == sum(gap.text.startswith("segment ") for gap in found)
    assert all(gap.lost and "frames" in gap.bound for gap in found)
    segments(tmp_path)[0].unlink()
    assert verify(tmp_path, KEY).problems


def test_a_writer_that_is_not_here_is_missed_under_a_name_of_this_ledger_only(
    tmp_path: Path,
) -> None:
    anchor = tmp_path / "anchor"
    with ledger(tmp_path / "one", anchor=anchor, name="gw") as made:
        request(made, "a")
    said = read_anchor(anchor)
    assert said is not None
    seen = cursor_of(said)
    for name in ("gw", "other"):
        with ledger(tmp_path / name, name=name) as made:
            request(made, "b")
    corrected = msgspec.structs.replace(seen, writer=seen.writer.replace("gw.", "gw-rerate."))
    found = [
        verify(tmp_path / name, KEY, [Witness(name="anchor", cursor=each)])
        for name in ("gw", "other", "none")
        for each in (seen, corrected)
    ]

    assert [(len(each.problems), len(each.elsewhere), each.seen) for each in found] == [
        *[(1, 0, 0)] * 2,
        *[(0, 1, 0)] * 2,
        *[(1, 0, 0)] * 2,
    ]


def test_segments_that_are_named_anew_do_not_hide_that_the_first_is_gone(tmp_path: Path) -> None:
    for name in "abc":
        with ledger(tmp_path) as made:
            request(made, name)
    [first, *later] = segments(tmp_path)
    for path, name in zip(later, [first.name, later[0].name], strict=True):
        path.rename(tmp_path / name)

    assert verify(tmp_path, KEY).problems == [f"{first.name} is not how a ledger begins"]


def test_a_report_counts_what_it_read_and_what_a_crash_cut(tmp_path: Path) -> None:
    for worker in ("", "w2"):
        for name in "ab":
            with ledger(tmp_path, worker=worker) as made:
                request(made, f"{name}{worker}")
    whole = verify(tmp_path, KEY)
    assert (whole.segments, whole.frames, whole.unfinished) == (4, 4 * 3, 0)
    newest = segments(tmp_path)[-1]
    with newest.open("ab") as file:
        file.write(bytes(7))
    cut = verify(tmp_path, KEY)

    assert (cut.problems, cut.unfinished, cut.frames) == ([], 7, whole.frames)


def crashed(directory: Path, **how: str) -> None:
    with ledger(directory, **how) as made:
        request(made, "done")
        opened(made, "cut", tokens=40)
        kill(made)


def test_gaps_tells_a_killed_process_from_a_power_cut(tmp_path: Path) -> None:
    state = tmp_path / "state"
    crashed(state / "ledger", boot="one")
    crashed(state / "ledger", boot="one")
    with ledger(state / "ledger", boot="two"):
        pass
    (state / "ledger-key").write_text(KEY.reveal())
    done = ledger_command("gaps", "--directory", str(state), "--json")

    found = json.loads(done.stdout)
    assert [each["what"] for each in found] == ["recovered", "estimated"] * 2
    assert [each["lost"] for each in found] == [False, False, True, False]
    assert "the machine stayed up" in found[0]["text"]
    assert "frames of the last 20 ms" in found[2]["bound"]
    assert found[1]["request_id"] == "cut"
    assert found[1]["units"] == {"llm.output_tokens": 40, "llm.requests": 1}
    told = ledger_command("gaps", "--directory", str(state)).output
    assert "4 things to know, 1 that may have lost bills" in told
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert len(re.findall(rf"^[! ] {moment} ", told, re.MULTILINE)) == 4
    assert re.search(f"the last that is here is of {moment}$", found[2]["bound"])


def test_an_anchor_that_saw_more_is_written_down_at_the_next_start(tmp_path: Path) -> None:
    directory, anchor = tmp_path / "ledger", tmp_path / "anchor"
    with ledger(directory, anchor=anchor) as made:
        request(made, "a")
        before = made.writer
    [file] = segments(directory)
    file.write_bytes(file.read_bytes()[:-100])
    with ledger(directory, anchor=anchor) as made:
        assert made.writer != before

    [gap] = [gap for gap in gaps(directory, KEY) if gap.what == "behind"]
    assert gap.lost
    assert before in gap.text
    assert verify(directory, KEY).problems == []


def test_a_lost_directory_is_printed_with_when_it_was_last_heard_of(tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    with ledger(tmp_path / "one", anchor=anchor, name="gw") as made:
        request(made, "a")
        writer = made.writer
    with ledger(tmp_path / "two", anchor=anchor, name="gw"):
        pass

    [gap] = [gap for gap in gaps(tmp_path / "two", KEY) if gap.what == "replaced"]
    assert writer in gap.text
    assert "2026-01-01T00:00:00" in gap.bound
