"""Recognised lines as markdown, in reading order as far as their boxes tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from modgate.plugin import BadReply, Fields, Json

SAME_ROW = 0.5
PARAGRAPH_GAP = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A recognised line with its upright box, in pixels."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        """The line's height."""
        return max(1.0, self.bottom - self.top)


def line_of(row: Fields) -> Line:
    """A line of the home wire: `{text, box: [[x, y] x 4] | [left, top, right, bottom]}`."""
    box = row.items("box")
    flat = all(isinstance(value, int | float) for value in box)
    points = [box[:2], box[2:]] if flat and len(box) == 4 else box
    xs, ys = [_at(point, 0) for point in points], [_at(point, 1) for point in points]
    text = row.text("text", empty=True)
    return Line(text=text, left=min(xs), top=min(ys), right=max(xs), bottom=max(ys))


def _at(point: Json, axis: int) -> float:
    if isinstance(point, list) and len(point) == 2 and isinstance(point[axis], int | float):
        return float(point[axis])
    raise BadReply("the engine's reply does not fit: a box must be four points")


def markdown(lines: Sequence[Line]) -> str:
    """Rows top to bottom, pieces of a row left to right, paragraphs where the gap is wide."""
    rows = _rows(lines)
    if not rows:
        return ""
    usual = median(line.height for row in rows for line in row)
    text, bottom = "", None
    for row in rows:
        top = min(line.top for line in row)
        if bottom is not None:
            text += "\n\n" if top - bottom > PARAGRAPH_GAP * usual else "\n"
        text += " ".join(line.text.strip() for line in row)
        bottom = max(line.bottom for line in row)
    return text


def _rows(lines: Sequence[Line]) -> list[list[Line]]:
    rows: list[list[Line]] = []
    for line in sorted((each for each in lines if each.text.strip()), key=lambda each: each.top):
        for row in reversed(rows):
            if _overlap(row[0], line) > SAME_ROW:
                row.append(line)
                break
        else:
            rows.append([line])
    return [sorted(row, key=lambda each: each.left) for row in rows]


def _overlap(a: Line, b: Line) -> float:
    """How much of the lower line's height the two share."""
    shared = min(a.bottom, b.bottom) - max(a.top, b.top)
    return shared / min(a.height, b.height)
