"""One neutral transcript, and every format that clients ask for (wire.md 4.1, B4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modgate.plugin import Fields, JsonObject

RATE = 16_000
UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue", "chinese", "japanese", "thai"})
OVERLAP_WORDS = 30
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech; times in milliseconds since the start of the file."""

    start_ms: int
    end_ms: int
    text: str
    rest: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word with its times, in milliseconds."""

    start_ms: int
    end_ms: int
    word: str


@dataclass(slots=True)
class Transcript:
    """What was said, piece after piece, in order."""

    segments: list[Segment] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    language: str = ""
    text: str = ""

    def add(self, reply: Fields, *, start: int, fresh: int, end: int) -> str:
        """Add one piece's verbose_json.

        `start`, `fresh` and `end` are samples; no time lies beyond the piece's end, whatever the
        engine says.  The answer is the new text.
        """
        self.language = self.language or (reply.text("language", "", empty=True) or "")
        shift, fresh_ms = start * 1000 // RATE, fresh * 1000 // RATE
        end_ms = end * 1000 // RATE
        overlapped = fresh > start
        new = (
            [self._segment(row, shift, end_ms) for row in reply.each("segments", empty=True)]
            if ("segments" in reply)
            else []
        )
        if overlapped:
            new = [row for row in new if (row.start_ms + row.end_ms) // 2 >= fresh_ms]
        for row in reply.each("words", empty=True) if "words" in reply else ():
            word = self._word(row, shift, end_ms)
            if not overlapped or (word.start_ms + word.end_ms) // 2 >= fresh_ms:
                self.words.append(word)
        said = reply.text("text", "", empty=True) or ""
        if overlapped:
            said = without_overlap(self.text, said)
        self._extend(new)
        return self._join(said.strip())

    def _segment(self, row: Fields, shift: int, end_ms: int) -> Segment:
        known = ("start", "end", "text", "id", "seek")
        return Segment(
            start_ms=_time_ms(row, "start", shift, end_ms),
            end_ms=_time_ms(row, "end", shift, end_ms),
            text=row.text("text", empty=True),
            rest={name: value for name, value in row.values.items() if name not in known},
        )

    def _word(self, row: Fields, shift: int, end_ms: int) -> Word:
        return Word(
            start_ms=_time_ms(row, "start", shift, end_ms),
            end_ms=_time_ms(row, "end", shift, end_ms),
            word=row.text("word", empty=True),
        )

    def _extend(self, new: Iterable[Segment]) -> None:
        """Times never go back."""
        last = self.segments[-1].start_ms if self.segments else 0
        for row in new:
            start = max(last, row.start_ms)
            end = max(row.end_ms, start + 1)
            self.segments.append(Segment(start_ms=start, end_ms=end, text=row.text, rest=row.rest))
            last = start

    def _join(self, said: str) -> str:
        if not said:
            return ""
        gap = " " if self.text and self.language not in UNSPACED else ""
        self.text += gap + said
        return gap + said


def _time_ms(row: Fields, name: str, shift: int, end_ms: int) -> int:
    return min(end_ms, shift + round(row.number(name, at_least=0) * 1000))


def without_overlap(before: str, after: str) -> str:
    """`after` without the words at its start that `before` ends with; at least two must match."""
    tail = [word.lower() for word in _WORD.findall(before)][-OVERLAP_WORDS:]
    found = list(_WORD.finditer(after))
    head = [match.group().lower() for match in found[:OVERLAP_WORDS]]
    for length in range(min(len(tail), len(head)), 1, -1):
        if tail[-length:] == head[:length]:
            rest = after[found[length - 1].end() :]
            return rest.lstrip(".,;:!? ")
    return after


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: counted from 1, comma before the milliseconds."""
    rows = []
    for number, row in enumerate(segments, 1):
        times = f"{_clock(row.start_ms, ',')} --> {_clock(row.end_ms, ',')}"
        rows.append(f"{number}\n{times}\n{row.text.strip()}\n\n")
    return "".join(rows)


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT."""
    rows = ["WEBVTT\n\n"]
    for row in segments:
        times = f"{_clock(row.start_ms, '.')} --> {_clock(row.end_ms, '.')}"
        rows.append(f"{times}\n{row.text.strip()}\n\n")
    return "".join(rows)


def _clock(milliseconds: int, mark: str) -> str:
    seconds, ms = divmod(milliseconds, 1000)
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    return f"{h:02}:{m:02}:{s:02}{mark}{ms:03}"


def segment_json(number: int, row: Segment) -> JsonObject:
    """A verbose_json segment; typed SDKs require every field."""
    return {
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
        **row.rest,
        "id": number,
        "seek": row.start_ms // 10,
        "start": row.start_ms / 1000,
        "end": row.end_ms / 1000,
        "text": row.text,
    }


def word_json(row: Word) -> JsonObject:
    """A verbose_json word."""
    return {"word": row.word, "start": row.start_ms / 1000, "end": row.end_ms / 1000}
