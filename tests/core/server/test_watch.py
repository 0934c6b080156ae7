"""What is looked at again and again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from rigs.virtual import virtually

from modgate.marks import Mark, mark_of
from modgate.server.watch import LOOK_EVERY_S, WatchedFiles, watch


@virtually
async def test_a_look_that_breaks_is_said_and_keeps_neither_itself_nor_others_from_the_next() -> (
    None
):
    seen: list[str] = []

    def full() -> None:
        seen.append("full")
        raise OSError("no space left")

    async def stuck() -> None:
        seen.append("stuck")
        await asyncio.Event().wait()

    async def well() -> None:
        seen.append("well")

    looks = {"full": full, "stuck": stuck, "well": well}
    tasks = [asyncio.create_task(watch(what, look)) for what, look in looks.items()]
    await asyncio.sleep(3.5 * LOOK_EVERY_S)
    for task in tasks:
        task.cancel()

    assert [seen.count(what) for what in looks] == [3, 1, 3]


@virtually
async def test_what_broke_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ValueError("once")

    task = asyncio.create_task(watch("audit", broken))
    await asyncio.sleep(1.5 * LOOK_EVERY_S)
    task.cancel()

    assert [record.__dict__["what"] for record in caplog.records] == ["audit"]


def touched(path: Path, second: int) -> Path:
    path.touch()
    os.utime(path, (second, second))
    return path


def marks(*paths: Path) -> dict[Path, Mark]:
    return {path: mark_of(path) for path in paths}


def test_a_change_that_comes_while_the_one_before_is_read_is_another(tmp_path: Path) -> None:
    path = touched(tmp_path / "keys", 1)
    watched = WatchedFiles(tmp_path)
    watched.use(marks(path), ())

    touched(path, 2)
    assert watched.changed()
    before = marks(path)
    touched(path, 3)
    watched.use(before, ())

    assert watched.changed()
    assert not watched.changed()


def test_a_file_that_a_reload_brought_is_looked_at_and_one_that_it_left_is_not(
    tmp_path: Path,
) -> None:
    old, new = touched(tmp_path / "old", 1), touched(tmp_path / "new", 1)
    watched = WatchedFiles(tmp_path)
    watched.use(marks(old), ())

    watched.use(marks(new), ())
    touched(old, 2)
    assert not watched.changed()
    new.unlink()

    assert watched.changed()


def test_a_file_that_comes_to_a_pattern_is_a_change(tmp_path: Path) -> None:
    path = touched(tmp_path / "a.toml", 1)
    watched = WatchedFiles(tmp_path)
    watched.use(marks(path), ("*.toml",))

    assert not watched.changed()
    touched(tmp_path / "b.toml", 1)

    assert watched.changed()
    assert not watched.changed()


def test_a_link_that_leads_to_another_file_of_the_same_age_is_a_change(tmp_path: Path) -> None:
    old, new = touched(tmp_path / "old", 1), touched(tmp_path / "new", 1)
    link = tmp_path / "link"
    link.symlink_to(old)
    watched = WatchedFiles(tmp_path)
    watched.use(marks(link), ())

    link.unlink()
    link.symlink_to(new)

    assert watched.changed()
