"""Ways around the type checker and the linter are few, and each says why on its line.

Counted: `type: ignore`, `noqa` and `pyright:` comments, calls of `cast`, and every `Any` but those
of the JSON border: one file, which names a value of unknown shape `Json`, and the line of a
module for decoder processes (it may not import that file) that names such a value itself.
Annotations elsewhere use that name, so what crosses the border can be found.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

import pytest

AT_MOST = 10
BORDER = "modgate/api/json.py"
IGNORE = re.compile(
    r"#\s*(?:type:\s*ignore|(?:ruff:\s*)?noqa|mypy:|pyright:)"
    r"(?:\[[^\]]*\]|:\s*[A-Z0-9, ]+)?"  # the codes
    r"(?P<reason>.*)"
)


class Way(NamedTuple):
    """One way around a check."""

    line: int
    kind: str
    reason: str


def comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def reason_at(line: int, said: dict[int, str]) -> str:
    """The comment on the line, or on the next, where the formatter puts it when it breaks one."""
    return said.get(line, "") or said.get(line + 1, "")


def quoted_annotation(text: str) -> bool:
    """Whether a string is a type with Any in it, and not a sentence."""
    return (
        text == "Any"
        or re.fullmatch(r"[\w.]+\[[\w., |\[\]]*\bAny\b[\w., |\[\]]*", text) is not None
    )


def ways_around(source: str) -> list[Way]:
    if not any(word in source for word in ("Any", "cast")) and not IGNORE.search(source):
        return []  # same result without this: of most files nothing else need be read
    said = comments(source)
    found = [
        Way(line, "ignore", ignored["reason"].strip(" #-:"))
        for line, comment in said.items()
        if (ignored := IGNORE.search(comment))
    ]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Name(id="cast") | ast.Attribute(value=ast.Name(id="typing"), attr="cast")
            ):
                found.append(Way(node.lineno, "cast", reason_at(node.lineno, said)))
            case ast.Name(id="Any") | ast.Attribute(value=ast.Name(id="typing"), attr="Any"):
                found.append(Way(node.lineno, "Any", reason_at(node.lineno, said)))
            case ast.Constant(value=str(text)) if quoted_annotation(text):
                found.append(Way(node.lineno, "Any", reason_at(node.lineno, said)))
    return sorted(way for way in found if not way.reason.startswith("# JSON border"))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1", []),
        ("x = f()  # type: ignore[misc]", [(1, "ignore", "")]),
        (
            "x = f()  # type: ignore[misc]  # the stub is wrong",
            [(1, "ignore", "the stub is wrong")],
        ),
        ("x = 1  # noqa: S101 - why", [(1, "ignore", "why")]),
        ("x = 1  # noqa: S101", [(1, "ignore", "")]),
        ("# ruff: noqa", [(1, "ignore", "")]),
        ("x = cast(int, y)", [(1, "cast", "")]),
        ("x = typing.cast(int, y)  # checked above", [(1, "cast", "# checked above")]),
        ("def f(x: Any) -> None: ...", [(1, "Any", "")]),
        ("x: typing.Any = 1", [(1, "Any", "")]),
        ("x: 'list[Any]' = 1", [(1, "Any", "")]),
        ("x = 'Any model will do'", []),
        ("def f() -> list[\n    A[Any]\n]:  # why\n    ...", [(2, "Any", "# why")]),
        ("x = '# noqa'", []),
    ],
)
def test_a_way_around_is_seen(source: str, found: list[tuple[int, str, str]]) -> None:
    assert ways_around(source) == found


def test_ways_around_are_few_and_say_why(sources: list[Path]) -> None:
    found = {
        f"{file}:{way.line} {way.kind}": way.reason
        for file in sources
        if not str(file).endswith(BORDER)
        for way in ways_around(file.read_text())
    }

    assert [where for where, reason in found.items() if not reason] == [], "these say no reason"
    assert len(found) <= AT_MOST, "\n".join(found)
