"""A table of what was asked of engines that we did not write, printed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

ROWS = pytest.StashKey[list[tuple[str, ...]]]()
HEAD = ("engine", "asked by", "what came", "the bill")
Row = Callable[[str, str, str, str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if rows := config.stash[ROWS]:
        terminalreporter.section("engines of other people")
        widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
        for row in (HEAD, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            terminalreporter.write_line("  ".join(cells).rstrip())


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """Add a row to the table."""
    return lambda *cells: request.config.stash[ROWS].append(cells)
