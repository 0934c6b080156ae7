from __future__ import annotations

from modgate_ocr.layout import Line, markdown


def line(text: str, left: float, top: float, height: float = 10) -> Line:
    return Line(text=text, left=left, top=top, right=left + 50, bottom=top + height)


def test_pieces_of_a_row_are_read_from_left_to_right() -> None:
    lines = [line("world", 60, 2), line("Hello", 0, 0), line("Below", 0, 14)]

    assert markdown(lines) == "Hello world\nBelow"


def test_a_wide_gap_begins_a_paragraph() -> None:
    assert markdown([line("a", 0, 0), line("b", 0, 40)]) == "a\n\nb"


def test_no_lines_are_no_text() -> None:
    assert markdown([]) == ""
