"""A test that fails when its time is nearly over fails, and the run goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LATE = """
import time

import pytest


@pytest.mark.timeout(0.5)
def test_it_fails():
    __tracebackhide__ = lambda _: time.sleep(1.0)  # asked when the report is made
    raise ValueError


def test_the_next():
    pass
"""


@pytest.mark.slow
def test_no_time_runs_out_amid_a_report(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_late.py").write_text(LATE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_late.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "INTERNALERROR" not in said.stdout + said.stderr
    assert said.returncode == 1, said.stdout
    assert "1 failed, 1 passed" in said.stdout
