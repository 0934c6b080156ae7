"""A disk that is full: refused, or the oldest goes, and what was begun is billed all the same."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rigs.ledger import KEY, ledger, notes_of, opened, receipt, request, segments
from rigs.sinks import Kept, Store, shipping, until

from modgate.ledger import disk as module
from modgate.ledger.gaps import gaps
from modgate.ledger.policy import OnFull
from modgate.ledger.reader import rows
from modgate.ledger.sqlite_sink import FILE, SqliteConfig, SqliteSink
from modgate.ledger.stored import whole
from modgate.ledger.verify import verify


def ids(directory: Path) -> list[str]:
    return [row.id for row in rows(directory, KEY)]


def test_the_oldest_segments_make_room_and_the_chain_says_so(tmp_path: Path) -> None:
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest") as made:
        for index in range(60):
            request(made, f"r{index}")
            assert made.writable
        dropped = made.dropped_segments
        kept = made.kept_bytes

    notes = [note for note in notes_of(tmp_path) if note.what == "dropped"]
    left = ids(tmp_path)
    assert kept <= 6_000
    assert dropped > 5
    assert left == [f"r{index}" for index in range(60 - len(left), 60)]
    assert notes
    assert not any(note.acknowledged for note in notes)
    assert made.dropped_unacknowledged > 0
    with ledger(tmp_path):
        pass


def test_what_was_lost_is_told_also_when_the_note_of_it_is_gone(tmp_path: Path) -> None:
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest") as made:
        for index in range(120):
            if index == 60:
                made.acknowledge("sink", 10_000)
            request(made, f"r{index}")
        lost = made.dropped_unacknowledged
    with ledger(tmp_path) as made:
        again = made.dropped_unacknowledged

    told = [gap for gap in gaps(tmp_path, KEY) if gap.lost]
    assert all(note.acknowledged for note in notes_of(tmp_path) if note.what == "dropped")
    assert [gap.bound for gap in told] == [f"{lost} frames"]
    assert again == lost > 0


def test_a_segment_that_is_dropped_while_it_is_synced_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.fdatasync

    def slow(fd: int) -> None:
        time.sleep(0.02)
        real(fd)

    monkeypatch.setattr(module.os, "fdatasync", slow)
    with ledger(
        tmp_path, segment_bytes=2_000, max_bytes=4_000, on_full="drop-oldest", sync_s=0.0
    ) as made:
        for index in range(300):
            request(made, f"r{index}")
            time.sleep(0.0005)

    assert "ledger does not write" not in caplog.text
    assert len(os.listdir("/proc/self/fd")) < 100


def test_what_a_sink_has_is_dropped_without_a_loss(tmp_path: Path) -> None:
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest") as made:
        for index in range(60):
            made.acknowledge("sink", made.position.segment)
            request(made, f"r{index}")

        assert made.dropped_segments > 5
        assert made.dropped_unacknowledged == 0


def test_of_two_sinks_the_slower_decides_what_was_acknowledged(tmp_path: Path) -> None:
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest") as made:
        made.acknowledge("slow", 1)
        for index in range(60):
            made.acknowledge("fast", made.position.segment)
            request(made, f"r{index}")

        assert made.dropped_unacknowledged > 0


def test_a_full_disk_takes_the_ends_where_old_segments_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, limit = os.write, 9_000

    def write(fd: int, data: bytes) -> int:
        if sum(path.stat().st_size for path in segments(tmp_path)) + len(data) > limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(module.os, "write", write)
    with ledger(tmp_path, segment_bytes=2_000, on_full="drop-oldest") as made:
        for index in range(60):
            request(made, f"r{index}")
            assert made.writable

        assert made.lost_frames == 0
        assert ids(tmp_path)[-1] == "r59"


def test_segments_that_wait_for_the_disk_make_room_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk holds open all that is there: what is dropped of it is to be free at once."""
    write, sync, limit = os.write, os.fdatasync, 20_000
    one, held = threading.Semaphore(0), threading.Semaphore(0)

    def bounded(fd: int, data: bytes) -> int:
        if _held_bytes(tmp_path) + len(data) > limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    def slow(fd: int) -> None:
        held.release()
        assert one.acquire(timeout=60)
        sync(fd)

    monkeypatch.setattr(module.os, "write", bounded)
    monkeypatch.setattr(module.os, "fdatasync", slow)
    with ledger(tmp_path, segment_bytes=5_000, on_full="drop-oldest") as made:
        assert held.acquire(timeout=60)  # the first alone
        while len(segments(tmp_path)) < 4:
            request(made, "early")
        one.release()
        assert held.acquire(timeout=60)  # a group of all that are full
        for index in range(60):
            request(made, f"r{index}")
        dropped, refusal = made.dropped_segments, made.refusal
        one.release(10_000)

    assert refusal is None
    assert dropped >= 3
    assert made.lost_frames == 0
    assert ids(tmp_path)[-1] == "r59"


def test_a_backup_that_is_a_link_to_a_dropped_segment_stays_whole(tmp_path: Path) -> None:
    state, backup = tmp_path / "state", tmp_path / "backup"
    with ledger(state, segment_bytes=5_000) as made:
        while len(segments(state)) < 2:
            request(made, "early")
        oldest = segments(state)[0]
        os.link(oldest, backup)
        whole = backup.read_bytes()
        with made._lock:
            made._disk._syncing = frozenset((made._disk.number - 1,))
            made._disk.drop(made._disk.number - 1)

    assert not oldest.exists()
    assert backup.read_bytes() == whole


def _held_bytes(folder: Path) -> int:
    """Of the files of a folder, also of those that only a descriptor holds."""
    sizes = {}
    for name in os.listdir("/proc/self/fd"):
        link = Path("/proc/self/fd", name)
        with suppress(OSError):
            if link.readlink().is_relative_to(folder):
                sizes[link.stat().st_ino] = link.stat().st_size
    for path in segments(folder):
        sizes[path.stat().st_ino] = path.stat().st_size
    return sum(sizes.values())


FILLS = """
import resource, sys
from collections.abc import Iterator
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from rigs.ledger import ledger, opened, receipt
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
with ledger(Path(sys.argv[1])) as made:
    begun = [f"r{index}" for index in range(1000) if opened(made, f"r{index}")]
    assert 10 < len(begun) < 1000, len(begun)
    assert "full" in made.refusal, made.refusal
    for name in begun:
        made.ended(receipt(name))
    print(len(begun), flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if sys.argv[3] == "room":
        assert made.retry()
    else:
        import os
        os._exit(9)
"""


@pytest.mark.parametrize("then", ["room", "killed"])
def test_a_file_that_may_not_grow_loses_no_request_that_was_begun(
    tmp_path: Path, then: str
) -> None:
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", FILLS, str(tmp_path), str(tests), then]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == (0 if then == "room" else 9), done.stderr
    with ledger(tmp_path):
        pass

    found = {row.id: row.ending for row in rows(tmp_path, KEY)}
    assert len(found) == int(done.stdout)
    assert set(found.values()) == {"ok" if then == "room" else "gateway_crash"}


def test_segments_that_are_moved_away_make_room_while_the_gateway_runs(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with ledger(folder, segment_bytes=2_000, max_bytes=6_000) as made:
        while made.writable:
            request(made, "r")
        for file in segments(folder)[:2]:
            file.rename(tmp_path / file.name)
        until(lambda: made.writable, 5)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("on_full", ["refuse", "drop-oldest"])
def test_a_file_system_that_is_full_loses_no_request_that_was_begun(
    small: Path, on_full: OnFull
) -> None:
    with ledger(small / "ledger", segment_bytes=32_768, on_full=on_full) as made:
        begun = [f"r{index}" for index in range(3_000) if opened(made, f"r{index}")]
        for name in begun:
            made.ended(receipt(name))
        if on_full == "refuse":
            assert 100 < len(begun) < 3_000
            assert "full" in str(made.refusal)
            moved = small.parent / "moved"
            moved.mkdir()
            while not made.writable:  # the operator makes room, again and again
                for ballast in segments(small / "ledger")[:-1]:
                    shutil.move(ballast, moved / ballast.name)
                made.sync()
                made.retry()
            ends = len(ids(moved)) + len(ids(small / "ledger"))
        else:
            assert len(begun) == 3_000
            assert made.writable
            ends = ids(small / "ledger").count("r2999")

        assert made.lost_frames == 0
        assert ends == (len(begun) if on_full == "refuse" else 1)


def test_a_segment_that_is_removed_while_it_is_written_is_missed_and_another_begins(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "ledger"
    with ledger(folder) as made:
        request(made, "before")
        [file] = segments(folder)
        file.unlink()
        until(lambda: not made.writable, 5)
        reason = made.refusal
        until(lambda: made.writable, 5)
        request(made, "after")
        lost = made.dropped_unacknowledged

    assert reason == "the gateway takes no requests: it cannot write its ledger"
    assert ids(folder) == ["after"]
    [told] = [gap for gap in gaps(folder, KEY) if gap.lost]
    assert (told.bound.split(",")[0], lost) == ("2 frames", 2)
    assert verify(folder, KEY).problems  # told, and not excused
    with ledger(folder) as again:
        assert again.recovered == 0


def test_without_its_directory_a_ledger_takes_nothing_and_loses_no_end(tmp_path: Path) -> None:
    folder, store = tmp_path / "ledger", Store()
    with ledger(folder) as made, shipping(made, lambda: Kept(store)):
        opened(made, "begun")
        folder.rename(tmp_path / "away")
        until(lambda: not made.writable, 5)
        made.ended(receipt("begun"))
        refused = opened(made, "new")
        time.sleep(1.2)
        still = made.writable
        (tmp_path / "away").rename(folder)
        until(lambda: made.writable, 5)
        request(made, "after")
        until(lambda: len(store.rows) == 2)

    assert (refused, still) == (False, False)
    assert ids(folder) == ["begun", "after"]
    with ledger(folder) as again:
        assert again.recovered == 0


def test_a_file_in_the_place_of_its_directory_is_trouble_too(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with ledger(folder) as made:
        opened(made, "begun")
        folder.rename(tmp_path / "away")
        folder.write_text("")
        until(lambda: not made.writable, 5)
        made.ended(receipt("begun"))
        folder.unlink()
        (tmp_path / "away").rename(folder)
        until(lambda: made.writable, 5)

    assert ids(folder) == ["begun"]


def test_a_snapshot_beside_which_nobody_can_write_is_read(small: Path) -> None:
    with (
        ledger(small / "ledger") as made,
        shipping(made, lambda: SqliteSink(SqliteConfig(), folder=small), deadline_s=5.0) as shipper,
    ):
        request(made, "shipped")
        until(lambda: shipper.rows == 1)
    for file in segments(small / "ledger"):
        file.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)

    with whole(small / "ledger", small / FILE) as both:
        assert [row.id for row in both.rows()] == ["shipped"]
