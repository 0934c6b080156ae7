"""The transcript of which every format is made: what was said, and when."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from modgate.plugin import JsonObject

RATE = 16_000
UNSPACED = frozenset(
    {"zh", "ja", "th", "lo", "my", "yue", "chinese", "mandarin", "cantonese", "japanese", "thai"}
    | {"burmese", "myanmar"}
)
# Thai, Lao, Burmese; kana; ideographs.  Source: Unicode blocks.
UNSPACED_LETTERS = "\u0e00-\u0eff\u1000-\u109f\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60"
_UNSPACED = re.compile(f"[{UNSPACED_LETTERS}]")

Span = tuple[int, int]  # characters of a piece's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech.

    `start_ms`, `end_ms`: since the start of the file.  `seek`: in hundredths of a second, as
    Whisper has it.  `rest`: what else the engine said of it.  `at`: where its words stand in the
    text of its piece; None when they do not.
    """

    start_ms: int
    end_ms: int
    text: str
    seek: int = 0
    speaker: str | None = None
    rest: JsonObject = field(default_factory=dict)
    at: Span | None = None

    @property
    def middle_ms(self) -> int:
        """The time by which it is on one side of a cut, when its text cannot tell."""
        return (self.start_ms + self.end_ms) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word with its times.  `at`: as of a segment."""

    start_ms: int
    end_ms: int
    word: str
    at: Span | None = None

    @property
    def middle_ms(self) -> int:
        """The time by which it is on one side of a cut, when its text cannot tell."""
        return (self.start_ms + self.end_ms) // 2


@dataclass(slots=True)
class Transcript:
    """What was said so far, in order, and is final.

    `tokens`: the sums of what engines counted.
    """

    segments: list[Segment] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    logprobs: list[JsonObject] = field(default_factory=list)
    tokens: Counter[str] = field(default_factory=Counter)
    _said: list[str] = field(default_factory=list)  # in parts: a stream adds some thousands
    _languages: Counter[str] = field(default_factory=Counter)
    _uncounted: bool = False

    @property
    def text(self) -> str:
        """The whole text; it is put together anew each time."""
        return "".join(self._said)

    @property
    def language(self) -> str:
        """The language of most of the audio, as engines say it; '' when they say none."""
        return max(self._languages, key=self._languages.__getitem__, default="")

    @property
    def counted(self) -> bool:
        """Whether engines counted tokens for every piece."""
        return bool(self.tokens) and not self._uncounted

    def heard(self, language: str, lasts_ms: int, tokens: JsonObject | None) -> None:
        """A piece was transcribed; its language counts for as long as it lasts."""
        if language:
            self._languages[language] += max(1, lasts_ms)
        if tokens is None:
            self._uncounted = True
        else:
            self.tokens.update(tokens)

    def joined(self, said: str, language: str) -> str:
        """Add the text of a new piece; the answer is what was added, with what goes in front."""
        said = said.strip()
        return self.continued(self.gap(said, language) + said) if said else ""

    def gap(self, said: str, language: str) -> str:
        """What goes between the text so far and that of a new piece: a blank, or nothing."""
        before = self._said[-1][-1] if self._said else " "
        if before.isspace() or _unspaced(before, said, language):
            return ""
        return " "

    def continued(self, said: str) -> str:
        """Add text of the same piece, as it is; the answer is the same text."""
        if said:
            self._said.append(said)
        return said

    def extend(self, segments: Iterable[Segment], words: Iterable[Word]) -> list[Segment]:
        """Add segments and words, whose times never go back; the answer is the segments as kept."""
        first = len(self.segments)
        last = self.segments[-1].start_ms if self.segments else 0
        for row in segments:
            last = max(last, row.start_ms)
            self.segments.append(replace(row, start_ms=last, end_ms=max(row.end_ms, last)))
        last = self.words[-1].start_ms if self.words else 0
        for word in words:
            last = max(last, word.start_ms)
            self.words.append(replace(word, start_ms=last, end_ms=max(word.end_ms, last)))
        return self.segments[first:]


def _unspaced(before: str, after: str, language: str) -> bool:
    """Whether a text is joined without a blank to one that ends with the character `before`.

    The language tells, or, when that is not known, the letters that meet.  A name or a number in
    Latin letters keeps its blanks in every language.
    """
    if language and language.lower().split("-")[0] not in UNSPACED:
        return False
    if language:
        return not (before.isascii() and after[0].isascii())
    return bool(_UNSPACED.match(before) and _UNSPACED.match(after))
