"""Reading and writing tables as markdown and as HTML.

Source: GitHub Flavored Markdown, 4.10 (pipes in cells are escaped, the first row is the head);
HTML, 4.9 (`colspan` and `rowspan`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import escape, unescape
from typing import Literal

Format = Literal["markdown", "html"]
Grid = tuple[tuple[str, ...], ...]  # the texts of cells, by rows of one length

SPAN_AT_MOST = 100
CELLS_AT_MOST = 100_000
_RULE = re.compile(r"\|?\s*+:?-++:?\s*+(?:\|\s*+:?-++:?\s*+)*+\|?")
# One that is never closed runs to the end, or each that begins in it would be looked through again.
_HTML = re.compile(
    r"(?:<html>\s*+<body>\s*+)?<table\b.*?(?:(</table>)(?:\s*+</body>\s*+</html>)?|\Z)", re.S
)
_CUT = re.compile(r"(?<!\\)\|")
# A comment, another declaration, or a tag: its slash, its name and its attributes.  A tag ends
# where the next begins, so that a text is read once.  Python's own parser reads it again at each
# mark that is not closed, and fails at some.
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<[!?][^>]*(?:>|\Z)"
    r"""|<(/?)([a-zA-Z][^\s/<>]*+)((?>(?:[^<>"']|"[^"<]*"|'[^'<]*')*)|[^<>]*)>""",
    re.S,
)
_SPANS = re.compile(r"""(?<![\w-])(colspan|rowspan)\s*+=\s*+["']?\s*+0*+([0-9]{1,9})""", re.I)


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
    text = _HTML.sub(lambda found: put(found[0], "html") if found[1] else found[0], text)
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
    rules = "|" in line and _RULE.fullmatch(line.strip()) is not None
    return rules and len(_cells(line)) == len(_cells(head))


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    cells = _CUT.split(inner.replace("\\\\", "\0"))
    if cells and not cells[-1].strip():
        cells = cells[:-1]
    return [cell.strip().replace("\\|", "|").replace("\0", "\\") for cell in cells]


def of_markdown(text: str) -> Grid:
    """The cells of a pipe table.

    None of one that would have more than `CELLS_AT_MOST`: short rows get as many as the longest.
    """
    rows = [_cells(line) for at, line in enumerate(text.split("\n")) if at != 1]
    width = max(map(len, rows), default=0)
    return grid(rows) if width * len(rows) <= CELLS_AT_MOST else ()


def of_html(text: str) -> Grid:
    """The cells of an HTML table; one that spans several places is followed by empty ones.

    None of one that would have more than `CELLS_AT_MOST`, as spans can ask for.
    """
    reader = _Reader()
    reader.read(text)
    width = max(map(len, reader.rows), default=0)
    size = max(reader.cells, width * len(reader.rows))
    return grid(reader.rows) if size <= CELLS_AT_MOST else ()


class _Reader:
    """Collects the cells of a table, however broken it is."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self._taken: dict[int, int] = {}  # column -> rows below that a cell still reaches into
        self._cell: list[str] | None = None
        self._spans = (1, 1)
        self.cells = 0

    def read(self, text: str) -> None:
        """Read a whole table."""
        at = 0
        for found in _TAG.finditer(text):
            self._text(text[at : found.start()])
            at = found.end()
            if found[2] is not None and found[1]:
                self._closed(found[2].lower())
            elif found[2] is not None:
                self._opened(found[2].lower(), found[3])
        self._text(text[at:])

    def _opened(self, tag: str, attributes: str) -> None:
        """A row or a cell begins; a break is a blank."""
        if tag == "tr":
            self._end()
            self._fill()
            self.rows.append([])
        elif tag in ("td", "th"):
            self._end()
            given = {found[1].lower(): int(found[2]) for found in _SPANS.finditer(attributes)}
            self._spans = (_span(given.get("colspan", 1)), _span(given.get("rowspan", 1)))
            self._cell = []
        elif tag == "br" and self._cell is not None:
            self._cell.append(" ")

    def _closed(self, tag: str) -> None:
        """A cell or a row ends."""
        if tag in ("td", "th", "tr", "table"):
            self._end()
        if tag in ("tr", "table"):
            self._fill()

    def _text(self, text: str) -> None:
        """Text, of a cell if it is in one."""
        if self._cell is not None:
            self._cell.append(unescape(text))

    def _end(self) -> None:
        if self._cell is None or not self.rows:
            self._cell = None
            return
        text, self._cell = "".join(self._cell), None
        self._fill()
        across, down = self._spans
        self.cells += across
        if self.cells > CELLS_AT_MOST:
            return
        row = self.rows[-1]
        for column in range(len(row), len(row) + across):
            self._taken[column] = down - 1
        row.extend([text, *[""] * (across - 1)])

    def _fill(self) -> None:
        """Empty cells where one from above reaches down."""
        while self.rows and self._taken.get(column := len(self.rows[-1]), 0) > 0:
            self.cells += 1
            if self.cells > CELLS_AT_MOST:
                return
            self._taken[column] -= 1
            self.rows[-1].append("")


def _span(value: int) -> int:
    return min(SPAN_AT_MOST, max(1, value))
