"""Reading and writing tables as markdown and as HTML.

Source: GitHub Flavored Markdown, 4.10 (pipes in cells are escaped, the first row is the head);
HTML, 4.9 (`colspan` and `rowspan`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from html.parser import HTMLParser
from typing import Literal

Format = Literal["markdown", "html"]
Grid = tuple[tuple[str, ...], ...]  # the texts of cells, by rows of one length

SPAN_AT_MOST = 100
CELLS_AT_MOST = 100_000
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
_HTML = re.compile(r"(?:<html>\s*<body>\s*)?<table\b.*?</table>(?:\s*</body>\s*</html>)?", re.S)
_CUT = re.compile(r"(?<!\\)\|")


def grid(rows: Sequence[Sequence[str]]) -> Grid:
    """Rows as a grid: made equally long, and with single blanks in each cell."""
    width = max((len(row) for row in rows), default=0)
    return tuple(
        tuple(" ".join(cell.split()) for cell in (*row, *[""] * (width - len(row)))) for row in rows
    )


def written(table: Grid, form: Format) -> str:
    """A table as text in a format."""
    return _as_html(table) if form == "html" else _as_markdown(table)


def _as_markdown(table: Grid) -> str:
    lines = ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in table]
    rule = "|" + " --- |" * len(table[0])
    return "\n".join([lines[0], rule, *lines[1:]])


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")


def _as_html(table: Grid) -> str:
    rows = [_html_row(row, "td" if at else "th") for at, row in enumerate(table)]
    return "<table>" + "".join(rows) + "</table>"


def _html_row(row: Sequence[str], tag: str) -> str:
    cells = "".join(f"<{tag}>{escape(cell, quote=False)}</{tag}>" for cell in row)
    return f"<tr>{cells}</tr>"


def replaced(text: str, put: Callable[[str, Format], str]) -> str:
    """A page's markdown in which every table is replaced by `put(table, its format)`."""
    text = _HTML.sub(lambda found: put(found.group(), "html"), text)
    done: list[str] = []
    for piece in _pieces(text.split("\n")):
        done.append(put("\n".join(piece), "markdown") if len(piece) > 1 else piece[0])
    return "\n".join(done)


def _pieces(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """The lines of each pipe table together, and every other line alone."""
    at = 0
    while at < len(lines):
        end = at + 1
        if "|" in lines[at] and end < len(lines) and _rules(lines[end], lines[at]):
            end += 1
            while end < len(lines) and "|" in lines[end]:
                end += 1
        yield lines[at:end]
        at = end


def _rules(line: str, head: str) -> bool:
    """Whether a line is the rule under the head of a table."""
    same = len(_cells(line)) == len(_cells(head))
    return "|" in line and _RULE.fullmatch(line) is not None and same


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    cells = _CUT.split(inner.replace("\\\\", "\0"))
    if cells and not cells[-1].strip():
        cells = cells[:-1]
    return [cell.strip().replace("\\|", "|").replace("\0", "\\") for cell in cells]


def of_markdown(text: str) -> Grid:
    """The cells of a pipe table."""
    lines = text.split("\n")
    return grid([_cells(line) for at, line in enumerate(lines) if at != 1])


def of_html(text: str) -> Grid:
    """The cells of an HTML table; one that spans several places is followed by empty ones."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return grid(reader.rows)


class _Reader(HTMLParser):
    """Collects the cells of a table, however broken it is."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._taken: dict[int, int] = {}  # column -> rows below that a cell still reaches into
        self._cell: list[str] | None = None
        self._spans = (1, 1)
        self._cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A row or a cell begins; a break is a blank."""
        if tag == "tr":
            self._end()
            self._fill()
            self.rows.append([])
        elif tag in ("td", "th"):
            self._end()
            given = dict(attrs)
            self._spans = (_span(given.get("colspan")), _span(given.get("rowspan")))
            self._cell = []
        elif tag == "br" and self._cell is not None:
            self._cell.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """A cell or a row ends."""
        if tag in ("td", "th", "tr", "table"):
            self._end()
        if tag in ("tr", "table"):
            self._fill()

    def handle_data(self, data: str) -> None:
        """Text, of a cell if it is in one."""
        if self._cell is not None:
            self._cell.append(data)

    def _end(self) -> None:
        if self._cell is None or not self.rows:
            self._cell = None
            return
        text, self._cell = "".join(self._cell), None
        self._fill()
        across, down = self._spans
        self._cells += across
        if self._cells > CELLS_AT_MOST:
            return
        row = self.rows[-1]
        for column in range(len(row), len(row) + across):
            self._taken[column] = down - 1
        row.extend([text, *[""] * (across - 1)])

    def _fill(self) -> None:
        """Empty cells where one from above reaches down."""
        while self.rows and self._taken.get(column := len(self.rows[-1]), 0) > 0:
            self._taken[column] -= 1
            self.rows[-1].append("")


def _span(value: str | None) -> int:
    return min(SPAN_AT_MOST, int(value)) if value and value.isdecimal() and int(value) > 0 else 1
