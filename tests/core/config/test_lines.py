"""On which line a key stands."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.config.lines import Path, lines_of

calm = settings(derandomize=True, deadline=None, max_examples=200)

FILLERS = [
    "",
    "# a comment [x] = {",
    'TEXT = "]] # = {"',
    "TEXT = '[[ # \" '",
    'TEXT = """\n[table]\nkey = 1\n"""',
    "TEXT = '''\n[[table]]\nkey = \"\n'''",
    "LIST = [\n  1, # one ]\n  2,\n]",
    'LIST = [\n  { a = "]" },\n  { a = 2 },\n]',
    "TABLE = { a = 1, b = [2, 3] }",
]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """TOML in which the value of every `at*` key is the line that it stands on."""
    rows: list[str] = []
    pieces = st.sampled_from(["pair", "dotted", "quoted", "table", "tables", "filler"])
    for number, piece in enumerate(draw(st.lists(pieces, max_size=25))):
        line = sum(row.count("\n") + 1 for row in rows) + 1
        match piece:
            case "pair":
                rows.append(f"at{number} = {line}")
            case "dotted":
                rows.append(f" d{number} . at = {line} # dotted")
            case "quoted":
                rows.append(f"\"q {number}.x\" = {{ }}\n'at {number}' = {line + 1}")
            case "table":
                rows.append(f"[t{number}.'u v']\nat = {line + 1}")
            case "tables":
                name = draw(st.sampled_from(["one", "two"]))
                rows.append(f"[[{name}]] # again\nat = {line + 1}\n[{name}.sub]\nat = {line + 3}")
            case _:
                filler = draw(st.sampled_from(FILLERS))
                for word in ("TEXT", "LIST", "TABLE"):
                    filler = filler.replace(word, f"f{number}")
                rows.append(filler)
    return "\n".join(rows)


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """Each `at*` key with its value, which is its line."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, int) and name.startswith("at"):
                yield (*path, name), each
            yield from leaves(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from leaves(each, (*path, index))


@pytest.mark.slow
@calm
@given(documents())
def test_every_key_is_found_on_its_line(text: str) -> None:
    wanted = dict(leaves(tomllib.loads(text)))

    found = lines_of(text)

    assert {path: found.get(path) for path in wanted} == wanted


@calm
@given(st.text(alphabet="ab=.[]{}\"' \n#1,\\", max_size=60))
def test_any_text_gets_lines_that_it_has(text: str) -> None:
    found = lines_of(text)

    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def test_a_table_below_a_list_of_tables_belongs_to_the_last_one() -> None:
    found = lines_of("[[backend]]\n[[backend]]\n[backend.offers]\nvoice = []\n")

    assert found["backend", 1, "offers", "voice"] == 4


def test_a_section_stands_where_its_first_table_does() -> None:
    found = lines_of("[listen]\n[modle.chat]\n[[servers]]\n[[servers]]\n[modle.other]\n")

    assert (found["modle",], found["servers",]) == (2, 3)


def test_each_line_of_a_long_list_is_read_once() -> None:
    """Read again with each further one it would take minutes."""
    found = lines_of("names = [\n" + '"x", # [\n' * 100_000 + "]\nlast = 1\n")

    assert found == {(): 1, ("names",): 1, ("last",): 100_003}
