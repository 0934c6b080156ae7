from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate_ocr.boxes import Box, Line
from modgate_ocr.layout import blocks
from modgate_ocr.tables import Format, Grid, grid, of_html, of_markdown, replaced, written

CELL = st.text(st.sampled_from("ab |\\<>&;-`*é漢1"), max_size=6)


def grids(cell: st.SearchStrategy[str], least: int = 1) -> st.SearchStrategy[Grid]:
    return st.integers(least, 4).flatmap(
        lambda width: st.lists(
            st.lists(cell, min_size=width, max_size=width), min_size=2, max_size=6
        ).map(grid)
    )


@settings(max_examples=200, derandomize=True, deadline=None)
@given(grids(CELL))
def test_a_table_comes_back_from_both_formats(table: Grid) -> None:
    assert of_html(written(table, "html")) == table
    assert of_markdown(written(table, "markdown")) == table


@settings(max_examples=100, derandomize=True, deadline=None)
@given(grids(CELL), st.sampled_from(["markdown", "html"]))
def test_a_table_is_found_between_paragraphs(table: Grid, form: Format) -> None:
    found: list[tuple[str, str]] = []

    def put(text: str, given: Format) -> str:
        found.append((text, given))
        return "HERE"

    text = replaced(f"Before | it\n\n{written(table, form)}\n\nAfter", put)

    assert text == "Before | it\n\nHERE\n\nAfter"
    assert found == [(written(table, form), form)]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(grids(st.sampled_from(["x", "42", "1.50", "red", "k|v"]), 3).filter(lambda it: len(it) > 2))
def test_drawn_cells_come_back_as_the_table(table: Grid) -> None:
    lines = [
        Line(
            text=cell,
            box=Box(left=at * 200, top=row * 40, right=at * 200 + 60, bottom=row * 40 + 20),
        )
        for row, cells in enumerate(table)
        for at, cell in enumerate(cells)
    ]

    found = blocks(lines)

    assert [block.kind for block in found] == ["table"]
    assert of_markdown(found[0].text) == table


@pytest.mark.parametrize(
    ("html", "cells"),
    [
        (
            "<table><tr><td colspan=2>a</td></tr><tr><td>b<td>c</tr></table>",
            (("a", ""), ("b", "c")),
        ),
        (
            "<table><tr><td rowspan=2>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
            (("a", "b"), ("", "c")),
        ),
        ("<table><thead><tr><th>a<br>b</th></tr></thead></table>", (("a b",),)),
        ("<table><tr><td colspan=-1 rowspan=x>a &amp; b</td></tr></table>", (("a & b",),)),
        ("<table></table>", ()),
    ],
)
def test_html_as_engines_write_it_is_read(html: str, cells: Grid) -> None:
    assert of_html(html) == cells


def test_a_span_does_not_blow_a_table_up() -> None:
    rows = "<tr>" + "<td colspan=100000 rowspan=100000>a</td>" * 2000 + "</tr>"

    assert sum(len(row) for row in of_html(f"<table>{rows}</table>")) <= 100_000


@pytest.mark.parametrize(
    "text",
    ["|a|\n|" + " " * 1_000_000 + "x", "|a|\n|-" + " " * 1_000_000 + "x", "<table " * 300_000],
    ids=["a rule of blanks", "blanks behind a rule", "tables that never end"],
)
def test_what_is_nearly_a_table_is_read_once(text: str) -> None:
    assert replaced(text, lambda *_: "HERE") == text


@pytest.mark.parametrize("mark", ["<!--", "</a", "<td x=", "<?", "<a "])
def test_marks_that_are_never_closed_are_read_once(mark: str) -> None:
    found = of_html("<table><tr><td>a</td></tr>" + mark * 300_000)

    assert found == (("a",),)


@pytest.mark.parametrize("mark", ["<![", "<!DOCTYPE [", "<!-", "<?"])
def test_a_mark_that_html_does_not_know_loses_no_cell_before_it(mark: str) -> None:
    assert of_html(f"<table><tr><td>a</td><td>b</td>{mark}</tr></table>") == (("a", "b"),)


@pytest.mark.parametrize(
    ("span", "width"), [("9" * 5000, 100), ("0" * 5000 + "3", 3), ("'2px'", 2), ("\u0663", 1)]
)
def test_a_span_of_any_length_is_read(span: str, width: int) -> None:
    found = of_html(f"<table><tr><td COLSPAN = {span}>a</td></tr></table>")

    assert found == (("a", *[""] * (width - 1)),)


def test_a_table_whose_spans_ask_for_too_many_cells_is_none() -> None:
    rows = "<tr><td rowspan=100 colspan=100>a" * 900

    assert of_html(f"<table>{rows}</table>") == ()
