"""Small files that are written anew each time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modgate import whole_file as module
from modgate.limits.level_file import LevelFile
from modgate.limits.levels import Limit

MONTH = Limit(key="{acme}:m", kind="w", amount=900, period_ms=1_000_000_000)


def test_the_new_content_takes_the_old_ones_place_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "it"
    for data in (b"longer than the next", b"short"):
        module.write_whole(path, data)

    assert path.read_bytes() == b"short"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["it"]


async def test_after_a_power_cut_limits_are_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync = tmp_path / "levels", os.fsync
    synced: dict[int, int] = {}

    def fsync(fd: int) -> None:
        sync(fd)
        found = os.fstat(fd)
        synced[found.st_ino] = found.st_size

    monkeypatch.setattr(module.os, "fsync", fsync)
    kept = LevelFile(path, lambda: 0)
    kept.levels.charge(MONTH, 17, 0)
    kept.start()
    await kept.close()
    os.truncate(path, synced.get(path.stat().st_ino, 0))  # what no sync told the disk of is gone

    assert LevelFile(path, lambda: 0).levels.level(MONTH, 0) == 17
