"""Joining the texts of two pieces whose audio overlaps: deciding which words of each stay.

Source: algorithms.md 6.1 and `stitch` of its appendix B; wire.md 4.2 for engines without the times
of words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from modgate_asr.heard import Heard, ms_of
from modgate_asr.transcript import UNSPACED_LETTERS, Word

SLACK_MS = 300  # words so far outside the overlap are looked at, too
APART_MS = 500  # the times of one word, as the two pieces have it, differ by less
LEAST_MATCH, MOST_WORDS = 2, 30  # equal words that make a match; words that are compared
MOST_TIMED = 100  # words of an overlap, as an engine times them
EDGE_WORDS = 2  # so many words at the edge may be garbled by the cut
_TOKEN = re.compile(f"[{UNSPACED_LETTERS}]|[^\\W{UNSPACED_LETTERS}]+(?:['\u2019]\\w+)?")


@dataclass(frozen=True, slots=True)
class Join:
    """The left piece keeps its text before `left`, the right one from `right` on (characters)."""

    left: int
    right: int


def held_from(heard: Heard) -> int:
    """The character of a text, before a hard cut, from which on the next piece may change it."""
    if heard.timed:
        edge_ms = ms_of(heard.piece.next) - SLACK_MS
        return _start_of(heard.words, _first(heard.words, edge_ms), len(heard.text))
    tokens = list(_TOKEN.finditer(heard.text))[-MOST_WORDS:]
    return tokens[0].start() if tokens else len(heard.text)


def join(left: Heard, right: Heard) -> Join:
    """Where to join two pieces that overlap."""
    if left.timed and right.timed:
        return _by_time(left, right)
    if not left.text or not right.text:
        return Join(len(left.text), 0)
    return _by_text(left.text, right.text) or _by_segments(left, right)


def _by_time(left: Heard, right: Heard) -> Join:
    """Join at the word that both heard nearest to the middle of the overlap, or at the middle."""
    start_ms, end_ms = ms_of(right.piece.start), ms_of(left.piece.end)
    middle_ms = (start_ms + end_ms) // 2
    # More words than people say in that time are not compared: it takes the square of them.
    first = max(_first(left.words, start_ms - SLACK_MS), len(left.words) - MOST_TIMED)
    behind = min(_first(right.words, end_ms + SLACK_MS), MOST_TIMED)
    keep, drop = _first(left.words, middle_ms), _first(right.words, middle_ms)
    nearest = None
    for i, j in _matches(left.words[first:], right.words[:behind]):
        away = abs(left.words[first + i].start_ms - middle_ms)
        if nearest is None or away < nearest:
            nearest, keep, drop = away, first + i + 1, j + 1
    if nearest is not None and keep == len(left.words) and drop > 1:
        keep, drop = keep - 1, drop - 1  # the left one's last word lost its marks by the cut
    return Join(
        _start_of(left.words, keep, len(left.text)), _start_of(right.words, drop, len(right.text))
    )


def _matches(tail: Sequence[Word], head: Sequence[Word]) -> list[tuple[int, int]]:
    """Words that both heard at about the same time, as pairs of indices."""
    matcher = SequenceMatcher(
        None, [_plain(w.word) for w in tail], [_plain(w.word) for w in head], autojunk=False
    )
    pairs = ((a + k, b + k) for a, b, size in matcher.get_matching_blocks() for k in range(size))
    return [(i, j) for i, j in pairs if abs(tail[i].start_ms - head[j].start_ms) < APART_MS]


def _plain(word: str) -> str:
    return "".join(_TOKEN.findall(word.lower())) or word.strip()


def _first(words: Sequence[Word], from_ms: int) -> int:
    """The index of the first word that begins at a time or later."""
    return next((i for i, word in enumerate(words) if word.start_ms >= from_ms), len(words))


def _start_of(words: Sequence[Word], index: int, end: int) -> int:
    at = words[index].at if index < len(words) else None
    return at[0] if at is not None else end


def _by_text(left: str, right: str) -> Join | None:
    """Join at the longest run of words that ends the left text and begins the right one.

    A hard cut may garble a word or two at its edge, so the run may lie so far inside.  The last
    word of the run is taken from the right text, with the marks that follow it.
    """
    tail = list(_TOKEN.finditer(left))[-MOST_WORDS:]
    head = list(_TOKEN.finditer(right))[:MOST_WORDS]
    ends, begins = _lower(tail), _lower(head)
    for size in range(min(len(tail), len(head)), LEAST_MATCH - 1, -1):
        for inside in range(2 * EDGE_WORDS + 1):
            for skipped in range(max(0, inside - EDGE_WORDS), min(inside, EDGE_WORDS) + 1):
                last, first = len(tail) - skipped, inside - skipped
                if last >= size and ends[last - size : last] == begins[first : first + size]:
                    return Join(tail[last - 1].start(), head[first + size - 1].start())
    return None


def _lower(tokens: Sequence[re.Match[str]]) -> list[str]:
    return [token.group().lower() for token in tokens]


def _by_segments(left: Heard, right: Heard) -> Join:
    """Join by the middles of segments, when no words match."""
    middle_ms = (ms_of(right.piece.start) + ms_of(left.piece.end)) // 2
    if len(right.segments) < 2 and len(left.segments) < 2:
        return Join(len(left.text), 0)
    keep = [s.at[1] for s in left.segments if s.at is not None and s.middle_ms < middle_ms]
    drop = [s.at[1] for s in right.segments if s.at is not None and s.middle_ms < middle_ms]
    return Join(max(keep, default=len(left.text)), max(drop, default=0))
