"""Finding where sentences and clauses end, which is where a text may be cut.

An end that is missed only makes a piece longer.  One that is wrong is heard ("Doctor." for "Dr."),
so what is doubtful is no end.  A mark counts only before white space, which keeps numbers
(3.5, 1,000, 7:30), addresses (https://a.b/c?d=1) and abbreviations with inner dots whole.  CJK
marks need no space behind them.
Source: algorithms.md 6.2; Unicode Standard Annex 29, section 5 (sentence boundaries).
"""

from __future__ import annotations

import re

_CLOSERS = "\"'\u201d\u2019\u00bb\\)\\]\\}\u300d\u300f\u3011\u300b\uff09"
_STOPS = "\u3002\uff01\uff1f\uff61"  # the full stops, ! and ? of CJK
_COMMAS = "\uff0c\u3001\uff1b\uff1a\uff64"  # and their commas, semicolon and colon
_MARKS = ".!?\u2026\u203c-\u2049"
# A run of marks or of white space is looked at from its start only: from inside it nothing more is
# found, and a long run would take the square of its length.
_SENTENCE = re.compile(
    rf"(?<![{_MARKS}])(?P<mark>[{_MARKS}]+)[{_CLOSERS}]*(?:\s+|$)"
    rf"|[{_STOPS}]+[{_CLOSERS}]*\s*|(?<!\s)\s*\n\s*"
)
_CLAUSE = re.compile(
    rf"[,;:\u060c\u061b][{_CLOSERS}]*\s+|[{_COMMAS}][{_CLOSERS}]*\s*|\s[-\u2013]\s+|\s?\u2014\s?"
)
_LAST_WORD = re.compile(r"[^\s(\[\"'\u201c\u2018]*$")
_NUMBER_OF_A_LIST = re.compile(r"(?:^|\n)\s*(?:\d{1,3}|[a-zA-Z])$")

# Never the end of a sentence, whatever follows.
_TITLE = re.compile(
    r"mr|mrs|ms|mx|dr|prof|st|rev|hon|gen|col|maj|capt|cmdr|lt|sgt|gov|sen|rep|pres|messrs|mme|mlle"
    r"|hr|fr|mt|ft|nr|vs|cf|viz|ca|approx|e\.g|i\.e|z\.b|d\.h"
)
# The end of a sentence only before a capital letter.
_MAYBE = re.compile(
    r"etc|inc|ltd|co|corp|dept|est|al|jr|sr|no|nos|fig|figs|eq|sec|ch|vol|ed|eds|pp|ave|blvd|rd|ph\.d"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu(?:rs?)?|fri|sat|sun"
    r"|\w(?:\.\w)+"
)


def sentence_ends(text: str) -> list[int]:
    """The positions behind each sentence, with its closing quotes and white space, in order."""
    return [found.end() for found in _SENTENCE.finditer(text) if _ends(text, found)]


def clause_ends(text: str) -> list[int]:
    """The positions behind each clause inside a sentence, in order.

    A mark that may end a sentence, and stands before a small letter, ends a clause: `"Stop!" he
    said`, `well... perhaps`.
    """
    found = {match.end() for match in _CLAUSE.finditer(text)}
    for match in _SENTENCE.finditer(text):
        if match["mark"] not in (None, ".") and not _ends(text, match):
            found.add(match.end())
    return sorted(end for end in found if end < len(text))


def _ends(text: str, found: re.Match[str]) -> bool:
    mark, lines = found["mark"], found.group().count("\n")
    after = text[found.end() : found.end() + 1]
    if after.islower() and lines < 2:  # one line end inside a sentence wraps it
        return mark is None and not lines
    if mark is None or not after or lines:
        return True
    return mark != "." or not _abbreviates(text, found.start("mark"), after)


def _abbreviates(text: str, dot: int, after: str) -> bool:
    """Whether a dot belongs to the word before it, and ends no sentence."""
    if _NUMBER_OF_A_LIST.search(text, max(0, dot - 40), dot):
        return True
    found = _LAST_WORD.search(text, max(0, dot - 40), dot)
    word = found.group().lower() if found else ""
    if _TITLE.fullmatch(word) or (len(word) == 1 and word.isalpha()):
        return True
    return _MAYBE.fullmatch(word) is not None and not after.isupper()
