"""A guess at what was meant by a name that is none."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

ALIKE = 0.6  # of 1, from which a name is a guess at what was meant


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = close_to(written, known)
    return f"; did you mean '{close}'?" if close else ""


def close_to(written: str, known: Iterable[str]) -> str:
    """The known name that was probably meant; '' when none is like it.

    Of names that are as like, the one that begins like it: `lmm` is `llm` and not `vlm`.
    """

    def likeness(name: str) -> tuple[float, bool]:
        ratio = SequenceMatcher(None, name, written).ratio()
        return ratio, name[:1] == written[:1]

    best = max(sorted(known), key=likeness, default="")
    return best if likeness(best)[0] >= ALIKE else ""
