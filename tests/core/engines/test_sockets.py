"""The directory of the engines' sockets: gone with its gateway, and else with the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modgate.engines import sockets
from modgate.engines.sockets import LOCK, SocketDirectory

KILLED = """
import os, signal
from modgate.engines.sockets import SocketDirectory
made = SocketDirectory()
(made.path / "llm.sock").touch()
print(made.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are made."""
    short = tmp_path_factory.mktemp("s")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setenv("TMPDIR", str(short))
    monkeypatch.setattr("tempfile.tempdir", None)
    return short


def test_it_goes_with_its_gateway(folder: Path) -> None:
    made = SocketDirectory()
    before = made.path.stat().st_mode & 0o777
    made.close()

    assert before == 0o700
    assert list(folder.iterdir()) == []


def test_what_a_killed_gateway_left_goes_with_the_next_start() -> None:
    command = [sys.executable, "-c", KILLED]
    left = Path(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip())
    there = left.exists()
    made = SocketDirectory()

    assert there
    assert not left.exists()
    made.close()


@pytest.mark.parametrize("named", ["gone", "file"])
def test_a_runtime_directory_that_is_none_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (folder / "file").touch()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_RUNTIME_DIR", named)
    made = SocketDirectory()

    assert made.path.parent == folder
    made.close()


@pytest.fixture
def long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder in which no socket's path would fit."""
    found = folder / ("long" * 20)
    found.mkdir()
    monkeypatch.setenv("TMPDIR", str(found))
    return found


def test_a_temporary_folder_that_is_too_long_is_passed_over(
    folder: Path, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SHARED", (folder,))
    made = SocketDirectory()

    assert made.path.parent == folder
    made.close()


def test_where_none_is_short_the_one_that_was_named_is_told(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SHARED", ())

    with pytest.raises(OSError, match=rf"set TMPDIR to .* 60 bytes at most: '{long}'"):
        SocketDirectory()


def test_a_pipe_in_place_of_a_lock_keeps_no_gateway_waiting(folder: Path) -> None:
    left = folder / "modgate-pipe"
    left.mkdir()
    os.mkfifo(left / LOCK)  # in a directory where all may write, anybody can
    start = "from modgate.engines.sockets import SocketDirectory; SocketDirectory().close()"
    done = subprocess.run([sys.executable, "-c", start], timeout=60)

    assert done.returncode == 0


def test_what_is_not_known_to_be_left_stays(folder: Path) -> None:
    lives = SocketDirectory()
    unlocked, other = folder / "modgate-of-others", folder / "mine"
    unlocked.mkdir()
    other.mkdir()
    (other / LOCK).touch()
    (folder / "modgate-link").symlink_to(other)
    SocketDirectory().close()

    assert lives.path.exists()
    assert unlocked.exists()
    assert (other / LOCK).exists()
    lives.close()
