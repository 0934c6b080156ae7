"""Work grows with a page as its lines do, however oddly they lie: engines may say anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from modgate_ocr.boxes import Box, Line
from modgate_ocr.layout import blocks
from modgate_ocr.reply import renamed
from modgate_ocr.tables import CELLS_AT_MOST, of_markdown

FEW, TIMES = 150, 4


def line(text: str, left: float, top: float, width: float = 20, height: float = 20) -> Line:
    return Line(text=text, box=Box(left=left, top=top, right=left + width, bottom=top + height))


SHAPES: dict[str, Callable[[int], list[Line]]] = {
    "marks that stand alone": lambda n: [line("-", 0, 28 * at, 8) for at in range(n)],
    "marks in one row": lambda n: [line("-", 30 * at, 0, 8) for at in range(n)],
    "marks beside a tall line": lambda n: [
        line("up", 0, 0, height=28 * n),
        *(line("-", 40, 28 * at, 8) for at in range(n // 2)),
        *(line("word", 60, 28 * at) for at in range(n // 2)),
    ],
    "one row": lambda n: [line("a", 60 * at, 0) for at in range(n)],
    "two rows": lambda n: [line("a", 60 * (at // 2), 28 * (at % 2)) for at in range(n)],
    "a wide head over one long column": lambda n: [
        *(line("a", 60 * at, 28 * row) for at in range(n // 6) for row in range(3)),
        *(line("a", 0, 28 * (3 + row)) for row in range(n // 2)),
    ],
    "rows that touch under a wide head": lambda n: [
        *(line("a", 60 * at, 28 * row) for at in range(n // 6) for row in range(3)),
        *(line("a", 0, 28 * 3 + 14 * row) for row in range(n // 2)),
    ],
    "a wide row under open bands": lambda n: [
        *(line("a", left, 28 * row) for row in range(n // 4) for left in (0, 60 * n)),
        *(line("a", 60 * at, 28 * (n // 4)) for at in range(n // 2)),
    ],
    "many small tables": lambda n: [
        line("a", 100 * column, 400 * table + 28 * row)
        for table in range(n // 6)
        for row in range(3)
        for column in range(2)
    ],
    "lower than a pixel, at one place": lambda n: [line("a", 0, 0, 1, 0.4) for _ in range(n)],
    "lower than a pixel, as stairs": lambda n: [line("a", 0, at / 999, 1, 0.4) for at in range(n)],
}


def lines_run(function: Callable[[], object]) -> int:
    """How many lines of Python a call takes."""
    count = 0

    def step(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("shape", SHAPES)
def test_a_page_of_any_shape_takes_as_much_work_for_each_of_its_lines(shape: str) -> None:
    few, many = SHAPES[shape](FEW), SHAPES[shape](TIMES * FEW)

    assert lines_run(lambda: blocks(many)) < 1.25 * TIMES * lines_run(lambda: blocks(few))


def test_boxes_lower_than_a_pixel_share_a_row() -> None:
    assert [block.text for block in blocks([line("a", 0, 9, 1, 0.4), line("b", 2, 9, 1, 0.4)])] == [
        "a b"
    ]


def test_a_table_of_lines_that_would_be_mostly_empty_cells_is_text() -> None:
    lines = [line("a", 60 * at, 28 * row) for at in range(400) for row in range(2)]
    lines += [line("a", 60 * (at % 2), 28 * (2 + at // 2)) for at in range(600)]

    assert sum(len(block.text) for block in blocks(lines)) < 10 * len(lines)


def test_a_pipe_table_of_mostly_empty_cells_is_no_table() -> None:
    wide = "|" + "a|" * 1000
    rows = CELLS_AT_MOST // 1000

    assert len(of_markdown("\n".join([wide, "|" + "-|" * 1000, *["|b|"] * (rows - 1)]))) == rows
    assert of_markdown("\n".join([wide, "|" + "-|" * 1000, *["|b|"] * rows])) == ()


def test_many_pictures_are_named_in_one_go_over_the_text() -> None:
    def work(count: int) -> int:
        text = "\n".join(f"![p{at}](p{at})" for at in range(count))
        return lines_run(lambda: renamed(text, {f"p{at}": f"img-{at}" for at in range(count)}))

    assert work(TIMES * FEW) < 1.25 * TIMES * work(FEW)


def test_a_new_name_of_one_picture_is_not_taken_for_the_mark_of_another() -> None:
    text, found = renamed("![b](b) ![a](a) ![c](d) ![e", {"a": "b", "b": "a", "c": "x", "z": None})

    assert text == "![a](a) ![b](b) ![c](d) ![e"
    assert found == {"a", "b"}
