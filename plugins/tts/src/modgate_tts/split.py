"""Cutting a text into pieces that can be spoken one after the other.

The first piece is short, so that speech begins soon, and ends with a clause.  The others are long
enough to sound like one breath, and end with a sentence if they can.  Source: algorithms.md 6.2.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from modgate_tts.ends import clause_ends, sentence_ends

FIRST_LEAST = 20  # characters of the first piece
LEAST = 120  # of the others
_JOINERS = "\u200d\u200c\ufe0e\ufe0f"


def pieces(text: str, first: int, most: int) -> list[str]:
    """The pieces of a text, in order.

    The first has at most `first` characters, the others `most`.  Joined together they are the text.
    Only a run without a letter or digit is left out when it fits into no piece, because no engine
    can speak it.
    """
    cuts = _Cuts(text)
    found: list[str] = []
    start = 0
    while start < len(text):
        at_most, least = (most, min(LEAST, most)) if start else (first, min(FIRST_LEAST, first))
        end = cuts.next(start, least, at_most, soonest=not start)
        found.append(text[start:end])
        start = end
    return _spoken(found, most)


class _Cuts:
    """A text, and where it may be cut: best behind a sentence, else behind a clause, or a word."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sentences = sentence_ends(text)
        self._clauses = sorted({*self._sentences, *clause_ends(text)})

    def next(self, start: int, least: int, most: int, *, soonest: bool) -> int:
        """Where the piece that begins at `start` ends.

        It has `least` to `most` characters, if there is a good place.  `soonest`: take the first
        place, and not the last.
        """
        end = len(self._text)
        if end - start <= most:
            return end
        low, high = start + least, start + most
        if soonest:
            at = _within(self._clauses, low, high)
            return at[0] if at else self._word(start + most // 2, high)
        for ends in (self._sentences, self._clauses):
            # Not so near to the end of the text that a syllable is left over.
            if at := _within(ends, low, min(high, max(low, end - FIRST_LEAST))):
                return at[-1]
        if at := _within(self._sentences, start + FIRST_LEAST, low):
            return at[-1]
        return self._word(start + most // 2, high)

    def _word(self, low: int, high: int) -> int:
        """Behind the last space, or where there is none, anywhere but inside a character."""
        text = self._text
        at = next((at for at in range(high, low - 1, -1) if text[at - 1].isspace()), 0)
        if at:
            return at
        return next((at for at in range(high, low - 1, -1) if _whole_before(text, at)), high)


def _within(ends: Sequence[int], low: int, high: int) -> Sequence[int]:
    return ends[bisect_left(ends, low) : bisect_right(ends, high)]


def _whole_before(text: str, at: int) -> bool:
    """Whether a cut here tears no accent, vowel sign or joined emoji from its letter."""
    after = text[at]
    joined = text[at - 1] == "\u200d" or after in _JOINERS
    return not joined and not unicodedata.category(after).startswith("M")


def _spoken(parts: Sequence[str], most: int) -> list[str]:
    """The pieces, where one without a letter or digit is put to a neighbour that has room."""
    found: list[str] = []
    held = ""
    for part in parts:
        if not _says(part):
            if found and len(found[-1]) + len(part) <= most:
                found[-1] += part
            else:
                held = part
            continue
        fits = len(held) + len(part) <= most
        found.append(held + part if fits else part)
        held = ""
    return found


def _says(text: str) -> bool:
    return any(char.isalnum() for char in text)
