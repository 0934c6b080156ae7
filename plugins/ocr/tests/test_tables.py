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
