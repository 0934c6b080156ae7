from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from rigs.shortage import no_file_left

from modgate.errors import Overloaded
from modgate.spool import Spool


def test_a_file_has_no_name_and_is_gone_with_its_scope(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    scope = spool.scope()
    writer = scope.writer()
    writer.write(b"hello")
    file = writer.done()

    assert file.read() == b"hello"
    assert file.read(1, 3) == b"ell"
    assert list(tmp_path.iterdir()) == []
    assert (spool.used, spool.files) == (5, 1)
    scope.close()
    scope.close()
    assert (spool.used, spool.files) == (0, 0)


def test_a_file_has_no_name_either_where_the_disk_knows_no_nameless_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)  # as such a disk refuses
    writer = Spool(tmp_path, 100).scope().writer()
    writer.write(b"what a client sent")

    assert list(tmp_path.iterdir()) == []
    assert writer.done().read() == b"what a client sent"


def test_a_full_spool_refuses_and_charges_nothing(tmp_path: Path) -> None:
    charged: list[int] = []
    spool = Spool(tmp_path, 10)
    scope = spool.scope(charged.append)
    writer = scope.writer()
    writer.write(b"12345678")

    with pytest.raises(Overloaded):
        writer.write(b"9abc")
    scope.close()
    assert sum(charged) == 0
    assert spool.used == 0


def test_a_disk_that_takes_no_more_is_a_full_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    scope = spool.scope()
    writer = scope.writer()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(Overloaded, match="spool is full"):
            writer.write(b"12345678")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    scope.close()

    assert (spool.used, spool.files) == (0, 0)


def test_a_directory_that_was_cleaned_away_is_made_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 1000)
    (tmp_path / "spool").rmdir()
    writer = spool.scope().writer()
    writer.write(b"hello")

    assert writer.done().read() == b"hello"
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_a_file_that_the_gateway_may_not_open_is_its_own_fault(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    with no_file_left(), pytest.raises(Overloaded, match="can open no more files"):
        spool.scope().writer()

    assert spool.files == 0


def written(data: bytes) -> int:
    """A file as a decoder process hands it over."""
    fd = os.memfd_create("piece")
    os.write(fd, data)
    return fd


def is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_what_a_decoder_wrote_counts_until_it_is_dropped(tmp_path: Path) -> None:
    charged: list[int] = []
    spool = Spool(tmp_path, 10)
    scope = spool.scope(charged.append)
    fd = written(b"1234567")
    file = scope.adopt(fd)
    scope.writer().write(b"890")

    assert (file.read(), file.size) == (b"1234567", 7)
    assert (scope.size, spool.used, spool.files, sum(charged)) == (10, 10, 2, 10)
    scope.drop(file)
    scope.drop(file)
    assert (scope.size, spool.used, spool.files, sum(charged)) == (3, 3, 1, 3)
    assert not is_open(fd)


def test_what_a_decoder_wrote_is_freed_at_once_where_there_is_no_room_for_it(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path, 10)
    fd = written(b"12345678901")
    with pytest.raises(Overloaded):
        spool.scope().adopt(fd)

    assert (spool.used, spool.files) == (0, 0)
    assert not is_open(fd)
