"""On which line of a TOML file each key stands, so that a mistake can be shown where it is.

tomllib says what a file means, not where; this scanner says where, and leaves the meaning to
tomllib. A key that it does not find is shown at its nearest parent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Path = tuple[str | int, ...]
Lines = dict[Path, int]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*")
_ONE = re.compile(_KEY)
_HEADER = re.compile(r"\s*(\[\[?)(.*?)(\]\]?)\s*(?:#.*)?")
_ASSIGN = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=(.*)", re.DOTALL)
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""'
    r"|'''.*?'''"
    r"|\"\"\"|'''"  # opened on this line, and not closed yet
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*|[\[\]{}]",
    re.DOTALL,
)


def lines_of(text: str) -> Lines:
    """Key path -> line, counted from 1; list items by their index."""
    found: Lines = {(): 1}
    table: Path = ()
    counts: dict[Path, int] = {}
    rows = text.split("\n")
    at = 0
    while at < len(rows):
        header = _HEADER.fullmatch(rows[at])
        assign = _ASSIGN.fullmatch(rows[at])
        if header is not None and _DOTTED.fullmatch(header[2]):
            table = _table(header[2], header[1] == "[[", counts)
            for depth in range(1, len(table) + 1):
                found.setdefault(table[:depth], at + 1)
        elif assign is not None:
            path = (*table, *_names(assign[1]))
            for depth in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:depth], at + 1)
            at += _extent(rows, at, assign[2])
        at += 1
    return found


def _names(dotted: str) -> list[str]:
    return [name[1:-1] if name[0] in "\"'" else name for name in _ONE.findall(dotted)]


def _table(dotted: str, many: bool, counts: dict[Path, int]) -> Path:
    """The path of a table header; a parent that is a list of tables means its last one."""
    path: Path = ()
    names = _names(dotted)
    for index, name in enumerate(names):
        path = (*path, name)
        last = index == len(names) - 1
        if last and many:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _extent(rows: Sequence[str], at: int, value: str) -> int:
    """How many more lines a value takes: open brackets and long strings."""
    more = depth = 0
    while True:
        marks = _TOKEN.findall(value)
        inside = '"""' in marks or "'''" in marks  # a long string, to be read again with its end
        if not inside:
            depth += sum((mark in ("[", "{")) - (mark in ("]", "}")) for mark in marks)
        if not (inside or depth > 0) or at + more + 1 >= len(rows):
            return more
        more += 1
        row = rows[at + more]
        value = f"{value}\n{row}" if inside else row
