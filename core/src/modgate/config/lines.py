"""On which line of a TOML file each key stands, so that a mistake can be shown where it is.

tomllib says what a file means, not where.  This scanner says where and leaves the meaning to
tomllib: it is only given text that tomllib has read, so it checks nothing.  Source: TOML 1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]
Lines = dict[Path, int]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}#\n]*")  # a number, a date or a boolean
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'  # up to two quotes may stand before the closing three
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)


def lines_of(text: str) -> Lines:
    """Key path -> line, counted from 1; items of lists by their index.

    `text` is valid TOML; for other text the answer, or the exception, means nothing.
    """
    return _Scanner(text).scan()


class _Scanner:
    """One pass over the text.  `_at` is the offset of what is read next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._found: Lines = {(): 1}
        self._tables: dict[Path, int] = {}  # a list of tables -> the index of its last one

    def scan(self) -> Lines:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._found

    def _skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self._text, self._at)
        assert found is not None, "the text is no TOML"
        self._at = found.end()

    def _mark(self, path: Path, at: int) -> None:
        self._found.setdefault(path, bisect_right(self._breaks, at - 1) + 1)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`; a parent that is a list of tables means its last one."""
        begin = self._at
        many = self._text.startswith("[[", begin)
        self._at += 1 + many
        names = self._key()
        self._at += 1 + many
        path: Path = ()
        for index, name in enumerate(names):
            path = (*path, name)
            self._mark(path, begin)
            if many and index == len(names) - 1:
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path = (*path, self._tables[path])
                self._mark(path, begin)
        return path

    def _pair(self, table: Path) -> None:
        begin = self._at
        names = self._key()
        self._at += 1  # the equals sign
        path = table
        for name in names:
            path = (*path, name)
            self._mark(path, begin)
        self._value(path)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(_SPACE)
            names.append(self._name())
            self._skip(_SPACE)
            if self._text[self._at : self._at + 1] != ".":
                return names
            self._at += 1

    def _name(self) -> str:
        begin = self._at
        quote = self._text[begin : begin + 1]
        self._skip(_STRING if quote in ("'", '"') else _BARE_KEY)
        written = self._text[begin : self._at]
        if quote == '"' and "\\" in written:
            return str(tomllib.loads(f"name = {written}")["name"])
        return written[1:-1] if quote in ("'", '"') else written

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        first = self._text[self._at : self._at + 1]
        if first == "[":
            self._list(path)
        elif first == "{":
            self._table(path)
        else:
            self._skip(_STRING if first in ("'", '"') else _PLAIN)

    def _list(self, path: Path) -> None:
        self._at += 1
        index = 0
        while not self._ends("]"):
            self._mark((*path, index), self._at)
            self._value((*path, index))
            index += 1

    def _table(self, path: Path) -> None:
        self._at += 1
        while not self._ends("}"):
            self._pair(path)

    def _ends(self, close: str) -> bool:
        """Step over blanks and a comma; whether the list or inline table is closed here."""
        self._skip(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1
            self._skip(_BLANK)
        if not self._text.startswith(close, self._at):
            return False
        self._at += 1
        return True
