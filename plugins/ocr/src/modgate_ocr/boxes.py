"""Where things are on a page: boxes, and the lines of text in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from modgate.plugin import BadReply, Fields, Json

Item = TypeVar("Item")

FARTHEST = 1 << 24  # pixels: what lies beyond is on no page, and might not be written as JSON
SAME_ROW = 0.5  # of the lower one's height that two in one row share at least.  Source: wire.md 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An upright rectangle, in pixels of the page as the client is told it."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Its width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Its height, which is never 0, so that it can be divided by."""
        return max(1.0, self.bottom - self.top)

    def holds(self, other: Box) -> bool:
        """Whether the middle of another box lies inside."""
        x, y = (other.left + other.right) / 2, (other.top + other.bottom) / 2
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def times(self, x: float, y: float) -> Box:
        """The same place when the page is scaled by these factors."""
        return Box(
            left=self.left * x, top=self.top * y, right=self.right * x, bottom=self.bottom * y
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A recognised piece of text in one row.  `score`: how sure the engine is, 0 to 1."""

    text: str
    box: Box
    score: float | None = None


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box around all of them; there must be at least one."""
    every = list(boxes)
    return Box(
        left=min(each.left for each in every),
        top=min(each.top for each in every),
        right=max(each.right for each in every),
        bottom=max(each.bottom for each in every),
    )


def in_rows(items: Sequence[Item], place: Callable[[Item], Box]) -> list[list[Item]]:
    """Items, which come from top to bottom, in rows; each shares one with the first in it."""
    rows: list[list[Item]] = []
    near: list[tuple[Box, list[Item]]] = []  # rows that reach down to where we are
    for item in items:
        box = place(item)
        near = [each for each in near if each[0].bottom > box.top]
        row = next((row for first, row in reversed(near) if row_share(first, box) > SAME_ROW), None)
        if row is None:
            row = []
            rows.append(row)
            near.append((box, row))
        row.append(item)
    return rows


def row_share(a: Box, b: Box) -> float:
    """How much of the lower one's height two boxes share, from 0 to 1; 1 of one without a height.

    By their true heights: those of less than a pixel would share no row, not even with themselves.
    """
    shared = min(a.bottom, b.bottom) - max(a.top, b.top)
    lower = min(a.bottom - a.top, b.bottom - b.top)
    return shared / lower if lower else float(shared >= 0)


def box_of(value: Json) -> Box:
    """A box as engines write it, `[[x, y], ...]` or `[left, top, right, bottom]`; else BadReply."""
    if not isinstance(value, list) or not value:
        raise BadReply("the engine's reply does not fit: a box must be a list of numbers")
    points = [value[:2], value[2:]] if len(value) == 4 and _numbers(value) else value
    if not all(isinstance(point, list) and len(point) == 2 and _numbers(point) for point in points):
        raise BadReply("the engine's reply does not fit: a box must be four points")
    if any(abs(number) > FARTHEST for point in points for number in point):
        raise BadReply("the engine's reply does not fit: a box must be on the page")
    xs, ys = [float(point[0]) for point in points], [float(point[1]) for point in points]
    return Box(left=min(xs), top=min(ys), right=max(xs), bottom=max(ys))


def _numbers(values: Sequence[Json]) -> bool:
    return all(type(value) in (int, float) for value in values)


def line_of(row: Fields) -> Line:
    """A line of the home wire: `{text, box, score?}`."""
    score = row.number("score", None, at_least=0)
    text = row.text("text", empty=True).replace("\0", "")
    return Line(text=" ".join(text.split()), box=box_of(row.get("box")), score=score)
