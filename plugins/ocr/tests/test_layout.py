from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modgate_ocr.boxes import Box, Line
from modgate_ocr.layout import Block, Figure, blocks, margins

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "home"]
PITCH, HEIGHT, LETTER = 28, 20, 10


def line(
    text: str, left: float, top: float, *, width: float | None = None, height: float = HEIGHT
) -> Line:
    right = left + (len(text) * LETTER if width is None else width)
    return Line(text=text, box=Box(left=left, top=top, right=right, bottom=top + height))


def prose(name: str, left: float, top: float, rows: int, width: float = 400) -> list[Line]:
    """Rows of running text that fill a column."""
    dice = Random(f"{name} {rows}")
    return [
        line(f"{name}{row} {' '.join(dice.sample(WORDS, 7))}", left, top + PITCH * row, width=width)
        for row in range(rows)
    ]


def cells(
    rows: list[list[str]], top: float = 0, lefts: tuple[int, ...] = (0, 300, 500, 700)
) -> list[Line]:
    """A table's cells, each where its column begins."""
    return [
        line(cell, left, top + 40 * at)
        for at, row in enumerate(rows)
        for left, cell in zip(lefts, row, strict=False)
        if cell
    ]


def read(lines: list[Line], *figures: Figure) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in blocks(lines, figures)]


def names(found: list[Block]) -> list[str]:
    """The first word of each row, in the order read."""
    return [row.split()[0] for block in found for row in block.text.split("\n")]


def numbered(name: str, rows: int) -> list[str]:
    return [f"{name}{row}" for row in range(rows)]


def test_pieces_of_a_row_are_read_from_left_to_right() -> None:
    lines = [line("world", 60, 2), line("Hello", 0, 0), line("Below", 0, 28)]

    assert read(lines) == [("text", "Hello world\nBelow")]


@pytest.mark.parametrize(("lower", "text"), [(9, "a b"), (10, "a\nb"), (11, "a\nb")])
def test_a_row_is_what_shares_more_than_half_of_the_lower_ones_height(
    lower: float, text: str
) -> None:
    assert read([line("a", 0, 0), line("b", 60, lower)]) == [("text", text)]


def test_a_wide_gap_begins_a_paragraph() -> None:
    assert read([line("a", 0, 0), line("b", 0, 80)]) == [("text", "a"), ("text", "b")]


def test_no_lines_are_no_blocks() -> None:
    assert read([]) == []
    assert read([line("", 0, 0)]) == []


def test_two_columns_are_read_one_after_the_other() -> None:
    lines = prose("left", 0, 100, 8) + prose("right", 480, 100, 8)

    assert names(blocks(lines)) == numbered("left", 8) + numbered("right", 8)


def test_columns_that_are_not_aligned_and_of_different_lengths_are_read_down() -> None:
    lines = prose("left", 0, 100, 9) + prose("right", 480, 113, 5)

    assert names(blocks(lines)) == numbered("left", 9) + numbered("right", 5)


def test_a_column_that_begins_above_the_other_is_read_with_its_own() -> None:
    lines = prose("left", 0, 184, 5) + prose("right", 480, 100, 8)

    assert names(blocks(lines)) == numbered("left", 5) + numbered("right", 8)


def test_paragraphs_that_end_at_one_height_in_both_columns_do_not_break_them() -> None:
    left = prose("a", 0, 0, 4) + prose("b", 0, 160, 4)
    right = prose("c", 480, 0, 4) + prose("d", 480, 160, 4)

    found = blocks(left + right)

    assert names(found) == [name + str(row) for name in "abcd" for row in range(4)]
    assert len(found) == 4


def test_a_title_across_columns_comes_first_and_what_is_below_comes_last() -> None:
    title = line("The news of the whole week in one line", 0, 0, width=880, height=44)
    below = prose("end", 0, 400, 3, width=880)

    found = blocks([*below, *prose("r", 480, 100, 8), *prose("l", 0, 100, 8), title])

    assert (found[0].kind, found[0].text[:10]) == ("title", "# The news")
    assert names(found[1:]) == numbered("l", 8) + numbered("r", 8) + numbered("end", 3)


def test_three_columns_are_read_in_order() -> None:
    lines = [*prose("c", 800, 0, 6, 340), *prose("a", 0, 0, 6, 340), *prose("b", 400, 0, 6, 340)]

    assert names(blocks(lines)) == numbered("a", 6) + numbered("b", 6) + numbered("c", 6)


def test_aligned_short_cells_are_a_table_between_paragraphs() -> None:
    table = cells([["Item", "Pieces", "Price"], ["apples", "3", "1.20"], ["figs", "100", "9.99"]])
    lines = [*prose("after", 0, 160, 2, 700), *table, *prose("before", 0, -100, 2, 700)]

    found = read(lines)

    assert [kind for kind, _ in found] == ["text", "table", "text"]
    assert found[1][1].split("\n") == [
        "| Item | Pieces | Price |",
        "| --- | --- | --- |",
        "| apples | 3 | 1.20 |",
        "| figs | 100 | 9.99 |",
    ]


def test_a_title_over_a_table_is_no_row_of_it() -> None:
    table = cells([["Item", "Pieces"], ["apples", "3"], ["figs", "100"], ["plums", "7"]], 80)

    found = read([*table, line("Order", 0, 0), line("No 4711", 0, 28)])

    assert found[0] == ("text", "Order\nNo 4711")
    assert found[1][1].startswith("| Item | Pieces |")


def test_an_empty_cell_stays_in_its_column() -> None:
    rows = [["Name", "Colour", "Taste"], ["plum", "", "sweet"], ["sloe", "blue", ""]]

    kind, text = read(cells(rows))[0]

    assert kind == "table"
    assert text.split("\n")[2:] == ["| plum |  | sweet |", "| sloe | blue |  |"]


def test_a_table_inside_a_column_of_two_is_found_there() -> None:
    inside = cells([["a", "1", "x"], ["b", "2", "y"], ["c", "3", "z"]], 340, (0, 150, 300))
    lines = [*prose("l", 0, 0, 10), *inside, *prose("r", 480, 0, 16)]

    found = read(lines)

    assert [kind for kind, _ in found] == ["text", "table", "text"]
    assert found[1][1].startswith("| a | 1 | x |")


def test_two_rows_of_two_cells_are_text() -> None:
    lines = cells([["Number", "4711"], ["Date", "12 May"]])

    assert read(lines) == [("text", "Number 4711\nDate 12 May")]


def test_a_mark_that_was_read_alone_belongs_to_its_item() -> None:
    lines = [
        line("\N{BULLET}", 0, 0),
        line("first", 20, 0),
        line("\N{BULLET} second that goes", 0, 28),
        line("on", 20, 56),
        line("1. one", 0, 140),
        line("2. two", 0, 168),
    ]

    assert read(lines) == [("list", "- first\n- second that goes on"), ("list", "1. one\n2. two")]


def test_tall_rows_are_titles_by_their_height() -> None:
    body = prose("b", 0, 200, 5)
    lines = [line("Report", 0, 0, height=40), line("Part one", 0, 100, height=30), *body]

    assert [text for kind, text in read(lines) if kind == "title"] == ["# Report", "## Part one"]


def test_a_picture_stands_where_it_is_and_its_text_follows_it() -> None:
    picture = Figure(number=0, box=Box(left=0, top=100, right=400, bottom=300))
    lines = [line("label", 50, 200), *prose("a", 0, 0, 3), *prose("z", 0, 320, 3)]

    found = blocks(lines, [picture])

    assert [block.figure for block in found] == [None, 0, None, None]
    assert [block.text.split(" ")[0] for block in found] == ["a0", "", "label", "z0"]


def test_header_and_footer_stand_alone_at_the_edge() -> None:
    head, foot, body = line("Page 7", 300, 20), line("ACME", 300, 960), prose("b", 0, 120, 20)

    assert margins([foot, *body, head], 1000) == ([head], body, [foot])
    assert margins([head], 1000) == ([], [head], [])
    assert margins(prose("b", 0, 20, 34), 1000)[0] == []


def scattered() -> st.SearchStrategy[list[Line]]:
    """Lines anywhere, also on top of one another."""
    whole = st.integers(0, 60)
    one = st.builds(
        lambda text, left, top, width, height: line(
            text, left * 10, top * 5, width=width * 10, height=height
        ),
        st.sampled_from(["a", "- b", "3.", "\N{BULLET}", "long text of many words", "12", ""]),
        whole,
        whole,
        whole,
        st.integers(1, 40),
    )
    return st.lists(one, max_size=25)


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [0, 2])
def test_shuffled_lines_are_read_alike_and_none_is_lost(pictures: int) -> None:
    figures = [
        Figure(number=at, box=Box(left=at * 300, top=0, right=at * 300 + 200, bottom=150))
        for at in range(pictures)
    ]

    @settings(
        max_examples=150,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(scattered(), st.randoms(use_true_random=False))
    def check(lines: list[Line], dice: Random) -> None:
        found = blocks(lines, figures)
        shuffled = dice.sample(lines, len(lines))

        assert blocks(shuffled, figures) == found
        assert sorted(block.figure for block in found if block.figure is not None) == list(
            range(pictures)
        )
        written = letters("".join(block.text for block in found))
        assert written == letters("".join(each.text for each in lines))

    check()


def letters(text: str) -> list[str]:
    return sorted(each for each in text if each.isalnum())


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.integers(2, 4),
    st.integers(3, 12),
    st.integers(3, 12),
    st.integers(30, 120),
    st.integers(-9, 9),
)
def test_columns_of_any_length_and_distance_are_read_down(
    count: int, rows: int, others: int, gutter: int, shift: int
) -> None:
    lengths = [rows if at % 2 == 0 else others for at in range(count)]
    parts = [
        prose("abcd"[at], at * (300 + gutter), shift * (at % 2), length, 300)
        for at, length in enumerate(lengths)
    ]

    found = names(blocks([each for part in reversed(parts) for each in part]))

    assert found == [
        name for at, length in enumerate(lengths) for name in numbered("abcd"[at], length)
    ]


def test_a_column_that_holds_nothing_but_what_stands_alone_above_is_no_column() -> None:
    places = [
        (200, 0, 25),
        (150, 10, 25),
        (250, 20, 25),
        (50, 50, 50),
        (200, 50, 75),
        (200, 50, 50),
    ]
    places += [(250, 50, 25), (50, 60, 100), (300, 60, 100)]

    found = blocks([line("word", left, top, width=w, height=10) for left, top, w in places])

    assert sum(block.text.count("word") for block in found) == len(places)


def test_lines_in_a_picture_and_at_an_edge_are_looked_for_once() -> None:
    lines = [line(f"word {at}", 0, 12 * at, height=10) for at in range(20_000)]
    page = Figure(number=0, box=Box(left=-1, top=-1, right=1e6, bottom=1e6))

    header, body, footer = margins(lines, 1e9)
    found = blocks(lines, [page])

    assert (len(header), len(body), len(footer)) == (0, len(lines), 0)
    assert found[0].kind == "image"
    assert sum(block.text.count("word") for block in found) == len(lines)
