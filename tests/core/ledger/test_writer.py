from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest
from rigs.ledger import KEY, ledger, notes_of, opened, receipt, request, segments, stop_syncing

from modgate.ledger import backlog
from modgate.ledger import writer as module
from modgate.ledger.frames import read_head
from modgate.ledger.reader import rows


def ids(directory: Path) -> list[str]:
    return [row.id for row in rows(directory, KEY)]


class Disk:
    """`os.write` of the writer, which can be made to fail."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.fault: OSError | None = None
        self.real = os.write

    def write(self, fd: int, data: bytes) -> int:
        if self.fault is not None:
            raise self.fault
        if self.room is not None:
            data = data[: self.room]
            self.room -= len(data)
        return self.real(fd, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(module.os, "write", made.write)
    return made


def test_a_frame_is_with_the_kernel_when_the_call_returns(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")

        assert ids(tmp_path) == ["a"]
        assert made.frames == 2


def test_nothing_but_the_owner_may_read_it(tmp_path: Path) -> None:
    with ledger(tmp_path / "ledger") as made:
        request(made, "a")

    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in segments(tmp_path / "ledger")} == {0o600}


def test_neither_key_nor_secrets_lie_in_the_file(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")

    assert KEY.reveal().encode() not in segments(tmp_path)[0].read_bytes()


def test_a_segment_that_is_full_is_followed_by_another_and_the_chain_goes_on(
    tmp_path: Path,
) -> None:
    with ledger(tmp_path, segment_bytes=2_000) as made:
        for index in range(50):
            request(made, f"r{index}")

    files = segments(tmp_path)
    assert len(files) > 5
    assert all(path.stat().st_size <= 2_000 for path in files)
    assert [read_head(path.read_bytes())[0].number for path in files] == [*range(1, len(files) + 1)]
    assert ids(tmp_path) == [f"r{index}" for index in range(50)]


def test_a_start_begins_a_segment_of_its_own(tmp_path: Path) -> None:
    for name in "ab":
        with ledger(tmp_path) as made:
            request(made, name)

    heads = [read_head(path.read_bytes())[0] for path in segments(tmp_path)]
    assert len({head.boot for head in heads}) == 2
    assert ids(tmp_path) == ["a", "b"]


def test_a_full_ledger_takes_no_new_requests_and_still_ends_the_old_ones(tmp_path: Path) -> None:
    with ledger(tmp_path, max_bytes=1_000) as made:
        assert made.writable
        opened(made, "old")
        for index in range(10):
            request(made, f"r{index}")
        assert not made.writable
        assert "full" in str(made.refusal)
        made.ended(receipt("old"))

    assert ids(tmp_path)[-1] == "old"


def test_a_full_ledger_is_full_after_a_restart(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        for index in range(10):
            request(made, f"r{index}")

    with ledger(tmp_path, max_bytes=1_000) as made:
        assert not made.writable


def test_a_disk_that_fails_takes_no_request_keeps_the_ends_and_is_logged_once(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    with ledger(tmp_path) as made, caplog.at_level(logging.INFO):
        opened(made, "started")
        disk.fault = OSError(5, "Input/output error")
        assert not opened(made, "never")
        made.ended(receipt("started"))
        assert not made.writable
        assert not made.retry()
        disk.fault = None
        assert made.retry()
        assert made.writable
        request(made, "d")

    said = [record.message for record in caplog.records]
    assert said == ["ledger does not write", "ledger writes again"]
    assert ids(tmp_path) == ["started", "d"]


def test_a_ledger_that_could_not_begin_leaves_its_chain_free(tmp_path: Path, disk: Disk) -> None:
    disk.fault = OSError(5, "Input/output error")
    with pytest.raises(OSError, match="Input/output"), ledger(tmp_path):
        pass
    disk.fault = None

    with ledger(tmp_path) as made:
        request(made, "a")

    assert ids(tmp_path) == ["a"]


def test_the_disk_is_asked_again_behind_the_requests_back(tmp_path: Path, disk: Disk) -> None:
    with ledger(tmp_path) as made:
        opened(made, "started")
        disk.fault = OSError(28, "No space left on device")
        made.ended(receipt("started"))
        assert "full" in str(made.refusal)
        disk.fault = None
        end = time.monotonic() + 10
        while not made.writable and time.monotonic() < end:
            time.sleep(0.02)

        assert ids(tmp_path) == ["started"]


def test_ends_that_wait_for_the_disk_are_bounded_and_a_loss_is_counted(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "AT_MOST", 1_000)
    with ledger(tmp_path) as made:
        disk.fault = OSError(28, "No space left on device")
        for index in range(10):
            made.ended(receipt(f"r{index}"))
        lost = made.lost_frames
        disk.fault = None
        assert made.retry()

    assert 0 < lost < 10
    assert len(ids(tmp_path)) == 10 - lost


def test_a_ledger_that_closes_before_the_disk_takes_its_bills_says_how_many(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    with ledger(tmp_path) as made:
        opened(made, "a")
        disk.fault = OSError(28, "No space left on device")
        made.ended(receipt("a"))
    disk.fault = None

    told = caplog.records[-1]
    assert (told.levelname, told.message) == ("ERROR", "ledger closed with bills in memory")
    assert told.__dict__["frames"] == 1
    with ledger(tmp_path) as again:
        assert again.recovered == 1


def test_a_frame_that_only_half_fits_is_taken_back(tmp_path: Path, disk: Disk) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")
        disk.room = 30
        assert not opened(made, "never")
        disk.room = None
        assert made.retry()
        request(made, "b")

    assert ids(tmp_path) == ["a", "b"]
    with ledger(tmp_path) as made:
        assert made.cut_bytes == 0


@pytest.mark.parametrize("room", [0, 5, 40])
def test_a_segment_that_cannot_be_begun_is_begun_again_later(
    tmp_path: Path, disk: Disk, room: int
) -> None:
    with ledger(tmp_path, segment_bytes=700) as made:
        request(made, "a")
        disk.room = room
        assert not opened(made, "never")
        disk.room = None
        assert made.retry()
        request(made, "b")

    assert ids(tmp_path) == ["a", "b"]
    with ledger(tmp_path):
        pass


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        request(made, "a")
        made.close()


def test_what_was_written_reaches_the_disk_within_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Event()
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        real(fd)
        synced.set()

    monkeypatch.setattr(module.os, "fdatasync", fdatasync)
    with ledger(tmp_path) as made:
        request(made, "a")

        assert synced.wait(5.0)


WRITES = """
import sys
import time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from rigs.ledger import ledger, opened, receipt
with ledger(Path(sys.argv[1])) as made:
    index = 0
    while True:
        opened(made, f"r{index}")
        print(f"o {index}", flush=True)
        if index % 3:
            made.ended(receipt(f"r{index}"))
            print(f"e {index}", flush=True)
        index += 1
"""


@pytest.mark.parametrize("lines", [1, 40, 333])
def test_kill_9_loses_nothing_that_was_handed_over(tmp_path: Path, lines: int) -> None:
    tests = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(tmp_path), str(tests)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    said = [child.stdout.readline().split() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += [line.split() for line in child.stdout.read().splitlines() if line[-1:].isdigit()]
    child.stdout.close()
    child.wait(10)
    with ledger(tmp_path):
        pass

    endings = {row.id: row.ending for row in rows(tmp_path, KEY)}
    assert len(endings) == sum(1 for _ in rows(tmp_path, KEY))
    begun = {f"r{words[1]}" for words in said if words[0] == "o"}
    ended = {f"r{words[1]}" for words in said if words[0] == "e"}
    assert begun <= set(endings)
    assert all(endings[name] == "ok" for name in ended)
    assert {endings[name] for name in begun - ended} <= {"gateway_crash", "ok"}
    assert len(set(endings) - begun) <= 1


def test_full_segments_are_synced_and_closed_with_the_next_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync
    with ledger(tmp_path, segment_bytes=2_000) as made:
        stop_syncing(made)
        monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), real(fd))[1])
        before = len(os.listdir("/proc/self/fd"))
        for index in range(20):
            request(made, f"r{index}")
        files = len(segments(tmp_path))
        made.sync()

        assert len(synced) == files > 4
        assert made.synced == made.position
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_disk_that_did_not_keep_a_group_takes_no_request_until_a_new_segment_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, told = os.fdatasync, Event()

    def fails(fd: int) -> None:
        told.set()
        raise OSError(5, "Input/output error")

    with ledger(tmp_path) as made:
        monkeypatch.setattr(os, "fdatasync", fails)
        request(made, "a")
        assert told.wait(5.0)
        end = time.monotonic() + 5
        while made.writable and time.monotonic() < end:
            time.sleep(0.01)
        assert not made.writable
        monkeypatch.setattr(os, "fdatasync", real)
        end = time.monotonic() + 10
        while not made.writable and time.monotonic() < end:
            time.sleep(0.01)
        request(made, "b")

    notes = [note.what for note in notes_of(tmp_path)]
    assert notes == ["unsynced", "resumed", "closed"]
    assert len(segments(tmp_path)) == 2
    assert ids(tmp_path) == ["a", "b"]
    assert "ledger not synced" in caplog.text
