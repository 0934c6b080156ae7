"""Programs of bench/ start as scripts, with their own folder first on the path."""

from __future__ import annotations

import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def test_no_program_hides_a_module_of_the_language() -> None:
    names = {path.stem for path in BENCH.glob("*.py")}

    assert names
    assert names & sys.stdlib_module_names == set()
