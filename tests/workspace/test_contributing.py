"""The contributors' map leads to what is there, and leaves out no module of the flow."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "src" / "modgate"
MAP = (ROOT / "docs" / "contributing.md").read_text()
PLACES = sorted(set(re.findall(r"`([\w/*]+(?:/|\.py))`", MAP)))
WORDS = re.findall(r"^\| `(\w+)` \| `([\w/]+\.py)` \|", MAP, re.MULTILINE)


@pytest.mark.parametrize("place", PLACES)
def test_what_the_map_names_is_there(place: str) -> None:
    assert (CORE / place).exists() or (ROOT / place).exists()


@pytest.mark.parametrize(("word", "place"), WORDS)
def test_a_word_is_a_class_where_the_map_says(word: str, place: str) -> None:
    tree = ast.parse((CORE / place).read_text())

    assert word in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_no_module_of_the_flow_is_left_out() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [flow] = [layer for layer in contracts["contracts"][0]["layers"] if "(pipeline)" in layer]
    modules = [name for name in re.findall(r"\((\w+)\)", flow) if (CORE / f"{name}.py").exists()]

    assert len(modules) > 20
    assert [name for name in modules if f"{name}.py" not in PLACES] == []
