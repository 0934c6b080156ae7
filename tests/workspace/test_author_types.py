"""What the pages for plugin authors and the examples show is typed as `mypy --strict` wants it, and
what an author gets wrong is told by it, too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
WHOLE = re.compile(r"^from modgate\.plugin import|^from modgate_\w+ import", re.MULTILINE)
WRONG = """
from collections.abc import Iterable, Sequence
from modgate.plugin import Ask, Call, Event, ModelName, Outcome, Relay, Units, Usage

class Told(Relay):
    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        yield "text"
    def usage(self, outcomes: Sequence[Outcome]) -> Units:
        return Units(words=1)

Usage(Units(words=0.5), by="nobody")
Ask(call for call in list[Call]())
name: ModelName[int]
"""
TOLD = ["misc", "override", "arg-type", "arg-type", "arg-type", "type-var"]


# What is the same as in the last run is not looked at again; the gate's own has other options.
CACHE = ROOT / ".mypy_cache" / "authors"


def told(folder: Path, *files: Path) -> list[str]:
    """The errors of a strict run, without the untyped libraries that an example decodes with."""
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", CACHE]
    done = subprocess.run([*mypy, *files], capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    return [line for line in errors if not line.endswith("[import-untyped]")]


def test_what_the_pages_and_the_examples_show_is_typed(tmp_path: Path) -> None:
    files = sorted(ROOT.glob("examples/*/src/*"))
    for page in ROOT.glob("docs/plugin-authors/*.md"):
        for at, block in enumerate(BLOCK.findall(page.read_text())):
            if WHOLE.search(block) and not re.search("^from acme_|Contract", block, re.MULTILINE):
                files.append(tmp_path / f"{page.stem.replace('-', '_')}_{at}.py")
                files[-1].write_text(block)

    assert len(files) > 12
    assert told(tmp_path, *files) == []


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)

    assert [line.rsplit("[", 1)[-1].rstrip("]") for line in told(tmp_path, file)] == TOLD
