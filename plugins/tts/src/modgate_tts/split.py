"""Text in pieces that can be spoken one after the other: at sentence ends, else at clauses.

Source: algorithms.md 6.2; architecture.md 12.
"""

from __future__ import annotations

import re
from itertools import pairwise

FIRST_LEAST = 20
_STOPS = "\u3002\uff01\uff1f"  # full-width . ! ?
_PAUSES = "\uff0c\u3001\uff1b\uff1a"  # full-width , ; : and the enumeration comma
_DASHES = "\u2013\u2014"
_SENTENCE = re.compile(rf"(?<=[.!?\u2026])[\"')\]]*\s+|(?<=[{_STOPS}])|\n+")
_CLAUSE = re.compile(rf"(?<=[,;:{_DASHES}])\s+|(?<=[{_PAUSES}])")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No|Fig)|\b[A-Z])\.\s*$")


def pieces(text: str, first: int, most: int) -> list[str]:
    """The text in order; joined together the pieces are the text, without losing a character.

    The first has at most `first` characters and ends at a clause if there is one; others at most
    `most`.
    """
    units = [part for sentence in _sentences(text) for part in _within(sentence, most)]
    if not units:
        return []
    head = _first(units[0], first)
    joined = head[:1]
    for unit in [*head[1:], *units[1:]]:
        if len(joined) > 1 and len(joined[-1]) + len(unit) <= most:
            joined[-1] += unit
        else:
            joined.append(unit)
    return _spoken(joined)


def _spoken(parts: list[str]) -> list[str]:
    """No piece without a letter or digit: such a one is joined to its neighbour."""
    found: list[str] = []
    for part in parts:
        if found and not (_says(part) and _says(found[-1])):
            found[-1] += part
        else:
            found.append(part)
    return found


def _says(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _cut(text: str, ends: list[int]) -> list[str]:
    return [text[a:b] for a, b in pairwise([0, *ends, len(text)]) if b > a]


def _sentences(text: str) -> list[str]:
    ends = [
        found.end()
        for found in _SENTENCE.finditer(text)
        if not _ABBREVIATION.search(text, 0, found.start())
        or text[found.start() - 1 : found.start()] != "."
    ]
    return _cut(text, ends)


def _within(text: str, most: int) -> list[str]:
    """A sentence in parts of at most `most`: at clauses, then words, then anywhere."""
    if len(text) <= most:
        return [text]
    found: list[str] = []
    for clause in _cut(text, [m.end() for m in _CLAUSE.finditer(text)]):
        rest = clause
        while len(rest) > most:
            at = rest.rfind(" ", 1, most)
            end = at + 1 if at > 0 else most
            found.append(rest[:end])
            rest = rest[end:]
        if found and len(found[-1]) + len(rest) <= most:
            found[-1] += rest
        else:
            found.append(rest)
    return found


def _first(text: str, first: int) -> list[str]:
    """The first piece, short enough that speech begins soon, and what is left of its sentence."""
    if len(text) <= first:
        return [text]
    ends = [m.end() for m in _CLAUSE.finditer(text) if FIRST_LEAST <= m.end() <= first]
    end = ends[0] if ends else text.rfind(" ", FIRST_LEAST, first) + 1
    return [text[:end], text[end:]] if end > 0 else [text]
