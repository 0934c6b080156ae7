"""The command itself, whichever of its commands it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="a device that is always full is Linux's")
def test_a_disk_without_room_for_what_is_printed_is_told_in_a_line() -> None:
    with FULL.open("w") as full:
        command = [Path(sys.executable).with_name("modgate"), "version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr == "Error: cannot write: No space left on device\n"
