"""Recognised lines as blocks in reading order, as far as their boxes tell.

The same lines in any order give the same blocks: nothing depends on the order of an engine's reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from modgate_ocr.boxes import Box, Line, around, in_rows
from modgate_ocr.columns import lead_of, read_down, table_of
from modgate_ocr.gutters import Beside, cut
from modgate_ocr.marks import BULLET, listed, marked
from modgate_ocr.tables import Grid, written

PARAGRAPH_GAP = 1.2  # usual heights
HEADING, TOP_HEADING = 1.4, 1.8  # of the usual height; boxes of one size differ by a fifth
INDENT = 0.5
DEEP = 20
MARGIN = 0.1  # of the page's height: where a header or a footer may stand
MARGIN_GAP = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture on the page; `number` is its place in the page's list of pictures."""

    number: int
    box: Box
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of a page in reading order.

    `kind`: in Mistral's words, `title`, `text`, `list`, `table`, `image`, `header`, `footer` and
    what an engine may know besides.  `text` is markdown; of an image, `figure` is its number.
    """

    kind: str
    text: str
    box: Box
    figure: int | None = None
    scores: tuple[float, ...] = ()


Item = Line | Figure


@dataclass(frozen=True, slots=True)
class _Row:
    text: str
    box: Box
    height: float
    scores: tuple[float, ...]
    figure: Figure | None = None


def blocks(lines: Sequence[Line], figures: Sequence[Figure] = ()) -> list[Block]:
    """The blocks of a page, in reading order.

    `figures`: its pictures; the lines inside one are part of its block.
    """
    lines = sorted((line for line in lines if line.text), key=_place)
    usual = usual_height(lines)
    items: list[Item] = []
    for figure in figures:
        inside = tuple(line for line in lines if figure.box.holds(line.box))
        lines = [line for line in lines if not figure.box.holds(line.box)]
        items.append(replace(figure, lines=inside))
    return list(_region([*marked(lines, usual), *items], usual, 0))


def usual_height(lines: Iterable[Line]) -> float:
    """The height of a usual line: half of the text, or more, is in lines no higher than it."""
    heights = sorted((line.box.height, len(line.text)) for line in lines)
    half = sum(count for _, count in heights) / 2
    for height, count in heights:
        half -= count
        if half <= 0:
            return height
    return 1.0


def _place(item: Item) -> tuple[float, float, float, float, str]:
    box, text = item.box, item.text if isinstance(item, Line) else ""
    return (box.top, box.left, box.bottom, box.right, text)


def _region(items: Sequence[Item], usual: float, depth: int) -> Iterator[Block]:
    """The blocks of a part of the page, which is cut into columns, tables and rows.

    `depth`: how many cuts led here.
    """
    rest: list[Item] = []
    for part in cut(items, usual):
        if not isinstance(part, Beside):
            rest += part
            continue
        lead = lead_of(part.columns)
        table = table_of(below := _without(lead, part.columns), usual)
        if table is None and (depth > DEEP or not read_down(part.columns, usual)):
            rest += [item for column in part.columns for item in column]
            continue
        yield from _paragraphs([*rest, *lead] if table is not None else rest, usual, depth)
        rest = []
        if table is not None:
            yield _table(table, [item for column in below for item in column])
            continue
        for column in part.columns:
            yield from _region(column, usual, depth + 1)
    yield from _paragraphs(rest, usual, depth)


def _without(lead: Iterable[Item], columns: Sequence[Sequence[Item]]) -> list[list[Item]]:
    """The columns without these items; one that held nothing else is none."""
    gone = frozenset(lead)
    left = ([item for item in column if item not in gone] for column in columns)
    return [column for column in left if column]


def _table(table: Grid, items: Sequence[Item]) -> Block:
    scores = tuple(
        item.score for item in items if isinstance(item, Line) and item.score is not None
    )
    box = around(item.box for item in items)
    return Block(kind="table", text=written(table, "markdown"), box=box, scores=scores)


def _paragraphs(items: Sequence[Item], usual: float, depth: int) -> Iterator[Block]:
    """The rows of a part, from top to bottom, as titles, lists, paragraphs and pictures."""
    group: list[_Row] = []
    for row in rows_of(items):
        if group and not _together(group, row, usual):
            yield _block(group, usual)
            group = []
        if row.figure is None:
            group.append(row)
            continue
        yield Block(kind="image", text="", box=row.box, figure=row.figure.number)
        yield from _region(row.figure.lines, usual, depth + 1)
    if group:
        yield _block(group, usual)


def rows_of(items: Sequence[Item]) -> list[_Row]:
    """Rows from top to bottom, with their pieces from left to right; a picture is a row."""
    done = [
        _Row("", item.box, item.box.height, (), item) for item in items if isinstance(item, Figure)
    ]
    lines = sorted((item for item in items if isinstance(item, Line)), key=_place)
    grouped = in_rows(lines, lambda line: line.box)
    done += [_joined(sorted(row, key=lambda line: (line.box.left, line.text))) for row in grouped]
    return sorted(done, key=lambda row: (row.box.top, row.box.left, row.box.bottom))


def _joined(row: Sequence[Line]) -> _Row:
    heights = sorted(line.box.height for line in row)
    return _Row(
        " ".join(line.text for line in row),
        around(line.box for line in row),
        heights[len(heights) // 2],
        tuple(line.score for line in row if line.score is not None),
    )


def _level(row: _Row, usual: float) -> int:
    """The level of a title, 1 or 2; 0 for other text."""
    share = row.height / usual
    return 1 if share >= TOP_HEADING else 2 if share >= HEADING else 0


def _together(group: Sequence[_Row], row: _Row, usual: float) -> bool:
    """Whether a row belongs to the group of rows above it."""
    first, last = group[0], group[-1]
    if row.figure is not None or row.box.top - last.box.bottom > PARAGRAPH_GAP * usual:
        return False
    if _level(row, usual) != _level(first, usual):
        return False
    if listed(row.text) or not listed(first.text):
        return listed(row.text) == listed(first.text)
    return row.box.left >= first.box.left + INDENT * usual


def _block(group: Sequence[_Row], usual: float) -> Block:
    box = around(row.box for row in group)
    scores = tuple(score for row in group for score in row.scores)
    level = _level(group[0], usual)
    if level:
        text = "#" * level + " " + " ".join(row.text for row in group)
        return Block(kind="title", text=text, box=box, scores=scores)
    if listed(group[0].text):
        return Block(kind="list", text=_list(group), box=box, scores=scores)
    text = "\n".join(row.text for row in group)
    return Block(kind="text", text=text, box=box, scores=scores)


def _list(group: Sequence[_Row]) -> str:
    items: list[list[str]] = []
    for row in group:
        if listed(row.text):
            items.append([BULLET.sub("- ", row.text, count=1)])
        else:
            items[-1].append(row.text)
    return "\n".join(map(" ".join, items))


def margins(lines: Sequence[Line], height: float) -> tuple[list[Line], list[Line], list[Line]]:
    """The lines of header, body and footer.

    Header and footer are at the edge of the page, with a wide gap to the rest.  A page on which
    nothing else would be left has neither.  `height`: of the page.
    """
    usual = usual_height(lines)
    top = sorted((line for line in lines if line.text), key=lambda line: line.box.bottom)
    header = _edge([(line, line.box.bottom, line.box.top) for line in top], height, usual)
    low = sorted(top, key=lambda line: -line.box.top)
    footer = _edge(
        [(line, height - line.box.top, height - line.box.bottom) for line in low], height, usual
    )
    edges = {*header, *footer}
    body = [line for line in lines if line not in edges]
    if not any(line.text for line in body):
        return [], list(lines), []
    return header, body, footer


def _edge(lines: Sequence[tuple[Line, float, float]], height: float, usual: float) -> list[Line]:
    """The lines at an edge, up to the first wide gap; none when that is beyond the margin.

    `lines`: each with the distances of its far and its near side from the edge.
    """
    nearest = list(accumulate((near for _, _, near in reversed(lines)), min))[::-1]
    for at, (_, far, _) in enumerate(lines[:-1]):
        if far > MARGIN * height:
            return []
        if nearest[at + 1] - far > MARGIN_GAP * usual:
            return [line for line, _, _ in lines[: at + 1]]
    return []
