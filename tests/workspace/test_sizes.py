"""Files and functions stay small enough to be read."""

from __future__ import annotations

import ast
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
UNRELEASED_LINES = 200


def long_functions(source: str) -> list[str]:
    return [
        f"{node.name} ({length} lines)"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]


def test_what_is_unreleased_is_told_in_a_page_or_two() -> None:
    """Who reads it wants to know what there is; a mend of what nobody got is no news."""
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    unreleased = changelog.partition("## [Unreleased]")[2].partition("\n## [")[0]

    assert len(unreleased.splitlines()) <= UNRELEASED_LINES, (
        "keep your own line, and merge the rest"
    )


def test_no_python_file_is_long(tracked: list[Path], sources: list[Path]) -> None:
    files = {*sources, *(file for file in tracked if file.suffix == ".py")}
    lengths = {str(file): len(file.read_text().splitlines()) for file in files}

    assert {file: lines for file, lines in lengths.items() if lines > FILE_LINES} == {}


def test_a_long_function_is_seen() -> None:
    body = "    pass\n" * FUNCTION_LINES

    assert long_functions(f"def f():\n{body}") == ["f (61 lines)"]
    assert long_functions(f"def f():\n{body.removesuffix('    pass' + chr(10))}") == []


def test_no_function_is_long(sources: list[Path]) -> None:
    found = {str(file): names for file in sources if (names := long_functions(file.read_text()))}

    assert found == {}
