"""The command itself, whichever of its commands it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rigs.ledger import KEY, ledger, request

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="a device that is always full is Linux's")
def test_a_disk_without_room_for_what_is_printed_is_told_in_a_line() -> None:
    with FULL.open("w") as full:
        command = [Path(sys.executable).with_name("modgate"), "version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr == "Error: cannot write: No space left on device\n"


def into_a_closed_pipe(*words: str) -> subprocess.CompletedProcess[str]:
    """What a command says whose output nobody reads any more."""
    reads, writes = os.pipe()
    os.close(reads)
    try:
        command = [Path(sys.executable).with_name("modgate"), *words]
        return subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writes)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["export", "verify"])
def test_a_command_whose_reader_left_ends_without_a_word(tmp_path: Path, command: str) -> None:
    with ledger(tmp_path / "ledger") as made:
        (tmp_path / "ledger-key").write_text(KEY.reveal())
        request(made, "r")
        made.close()
    done = into_a_closed_pipe("ledger", command, "--directory", str(tmp_path))

    assert done.stderr == ""
