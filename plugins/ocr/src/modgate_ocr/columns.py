"""Deciding what columns side by side are: a table, or text that is read column by column."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import pairwise
from typing import TypeVar

from modgate_ocr.boxes import Line, around, in_rows
from modgate_ocr.gutters import GUTTER, Placed
from modgate_ocr.tables import CELLS_AT_MOST, Grid, grid

Item = TypeVar("Item", bound=Placed)
Columns = Sequence[Sequence[Placed]]
Cells = dict[int, list[Line]]  # the lines of a row, by column

PROSE_WIDTH = 8  # times its own height: a line of prose is at least so wide
PROSE_FILL = 0.6  # of its column that a line of prose fills
PROSE_SHARE = 0.6  # of the rows of a column of prose are such lines
PROSE_LINES = 3  # a column of prose has so many
ALIGNED = 0.6  # of a table's rows have two cells or more
BROKEN = 0.3  # of the rows have a gap inside: then the column holds columns itself
FEW_ROWS, FEW_COLUMNS = 3, 3  # a table has so many rows, or so many columns and two rows


def table_of(columns: Columns, usual: float) -> Grid | None:
    """The columns as a table; None unless their lines are aligned, and at most one is prose."""
    lines = _lines(columns)
    if lines is None or len(columns) < 2:
        return None
    rows = _rows(lines)
    if len(rows) < 2 or (len(rows) < FEW_ROWS and len(columns) < FEW_COLUMNS):
        return None
    prose = {at for at, column in enumerate(lines) if _prose(column)}
    full = sum(len(row) >= 2 for row in rows)
    single = sum(_lone(row) in prose for row in rows)
    if len(prose) > 1 or full + single < ALIGNED * len(rows) or full < 2:
        return None
    if len(rows) * len(columns) > CELLS_AT_MOST or any(_broken(each, usual) for each in lines):
        return None
    return grid(_continued(rows, len(columns), prose, usual))


def lead_of(columns: Columns) -> list[Line]:
    """The lines at the top that stand alone, such as a title, which is no row of the table."""
    rows = _rows(_lines(columns) or [])
    first = next((at for at, row in enumerate(rows) if len(row) >= 2), 0)
    return [line for row in rows[:first] for cell in row.values() for line in cell]


def read_down(columns: Columns, usual: float) -> bool:
    """Whether columns that are no table are read one after the other, and not row by row."""
    lines = _lines(columns)
    if lines is None:
        return True
    rows = _rows(lines)
    if len(rows) < 2:
        return False
    aligned = sum(len(row) >= 2 for row in rows)
    loose = aligned < ALIGNED * max(len(column) for column in lines)
    return loose or any(_prose(column) or _broken(column, usual) for column in lines)


def _lines(columns: Columns) -> list[list[Line]] | None:
    """The lines of the columns; None when there is anything else in them."""
    found = [[item for item in column if isinstance(item, Line)] for column in columns]
    whole = all(len(own) == len(column) for own, column in zip(found, columns, strict=True))
    return found if whole else None


def _rows(columns: Sequence[Sequence[Line]]) -> list[Cells]:
    """The rows through all columns; each has a cell, of some lines, where a column has any."""
    placed = [(line, at) for at, column in enumerate(columns) for line in column]
    placed.sort(key=lambda each: (each[0].box.top, each[1], each[0].box.left))
    rows: list[Cells] = []
    for found in in_rows(placed, lambda each: each[0].box):
        row: Cells = {}
        for line, at in found:
            row.setdefault(at, []).append(line)
        rows.append(row)
    return rows


def _text(cell: Sequence[Line]) -> str:
    return " ".join(line.text for line in sorted(cell, key=lambda line: line.box.left))


def _prose(column: Sequence[Line]) -> bool:
    """Whether a column is running text: most of its rows are wide lines."""
    width = PROSE_FILL * around(line.box for line in column).width
    rows = [row[0] for row in _rows([column])]
    wide = sum(
        any(line.box.width >= max(width, PROSE_WIDTH * line.box.height) for line in row)
        for row in rows
    )
    return len(rows) >= PROSE_LINES and wide >= PROSE_SHARE * len(rows)


def _broken(column: Sequence[Line], usual: float) -> bool:
    """Whether many rows of a column have a gap inside."""
    rows = [sorted(row[0], key=lambda line: line.box.left) for row in _rows([column])]
    gaps = sum(
        any(right.box.left - left.box.right >= GUTTER * usual for left, right in pairwise(row))
        for row in rows
    )
    return gaps >= BROKEN * len(rows)


def _lone(row: Cells) -> int | None:
    """The column of a row's only cell; None when it has none or several."""
    return next(iter(row)) if len(row) == 1 else None


def _continued(
    rows: Sequence[Cells], columns: int, prose: Container[int], usual: float
) -> list[list[str]]:
    """The texts of the cells, where a cell of prose that goes on in the next row is one."""
    made: list[list[list[str]]] = []
    bottom: dict[int, float] = {}
    for row in rows:
        at = _lone(row)
        goes_on = (
            at is not None
            and at > 0
            and at in prose
            and at in bottom
            and min(line.box.top for line in row[at]) - bottom[at] < usual
        )
        if at is not None and goes_on:
            made[-1][at].append(_text(row[at]))
        else:
            made.append([[_text(row.get(column, ()))] for column in range(columns)])
            bottom = {}
        for column, cell in row.items():
            bottom[column] = max(line.box.bottom for line in cell)
    return [[" ".join(cell) for cell in row] for row in made]
