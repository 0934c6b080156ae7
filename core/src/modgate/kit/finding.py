"""What discoverers share: asking for one thing, and waiting longer after each failure."""

from __future__ import annotations

from modgate.api.discover import Number
from modgate.plugin import Document, Finding, Get, Names, Read, Resolve

BACKOFF_AT_MOST_S = 30.0


def document(want: Get | Read) -> Finding[Document]:
    """The document of a `Get` or a `Read`: `text = yield from document(Read(path=...))`."""
    told = yield want
    assert isinstance(told, Document)
    return told


def names(want: Resolve) -> Finding[Names]:
    """What a name leads to."""
    told = yield want
    assert isinstance(told, Names)
    return told


def backoff_s(tries: int, rng: Number) -> float:
    """How long to wait after so many failures in a row: 1, 2, 4 ... seconds, less up to a half.

    Source: algorithms.md 7.
    """
    return min(BACKOFF_AT_MOST_S, 2.0 ** min(tries, 16)) * (0.5 + 0.5 * rng())
