"""The neutral transcript: what was said and when; every format is made from it."""

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
    """A stretch of speech; times in milliseconds since the start of the file.

    `seek` is in hundredths of a second, `rest` what else the engine said of it.  `at` is where its
    words stand in the text of its piece, None when they do not stand there.
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
        """By which it belongs to a side of a cut when its text cannot tell."""
        return (self.start_ms + self.end_ms) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word with its times, in milliseconds; `at` as for a segment."""

    start_ms: int
    end_ms: int
    word: str
    at: Span | None = None

    @property
    def middle_ms(self) -> int:
        """By which it belongs to a side of a cut when its text cannot tell."""
        return (self.start_ms + self.end_ms) // 2


@dataclass(slots=True)
class Transcript:
    """What was said so far, in order, as far as it is final."""

    segments: list[Segment] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    logprobs: list[JsonObject] = field(default_factory=list)
    text: str = ""
    tokens: Counter[str] = field(default_factory=Counter)
    _languages: Counter[str] = field(default_factory=Counter)
    _uncounted: bool = False

    @property
    def language(self) -> str:
        """The language of most of the audio, as the engine says it; '' when it says none."""
        return max(self._languages, key=self._languages.__getitem__, default="")

    @property
    def counted(self) -> bool:
        """Whether the engine gave tokens for every piece."""
        return bool(self.tokens) and not self._uncounted

    def heard(self, language: str, lasts_ms: int, tokens: JsonObject | None) -> None:
        """A piece was transcribed: its language weighs as long as it lasts."""
        if language:
            self._languages[language] += max(1, lasts_ms)
        if tokens is None:
            self._uncounted = True
        else:
            self.tokens.update(tokens)

    def joined(self, said: str, language: str) -> str:
        """Text of a new piece put behind what was said; the answer is what that adds."""
        said = said.strip()
        return self.continued(self.gap(said, language) + said) if said else ""

    def gap(self, said: str, language: str) -> str:
        """What stands between the text so far and that of a new piece."""
        if not self.text or self.text[-1].isspace() or _unspaced(self.text, said, language):
            return ""
        return " "

    def continued(self, said: str) -> str:
        """More text of the same piece, as it is."""
        self.text += said
        return said

    def extend(self, segments: Iterable[Segment], words: Iterable[Word]) -> list[Segment]:
        """More segments and words; times never go back.  The answer is the segments as kept."""
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
    """Whether two texts join without a blank: by the language, else by the letters that meet.

    A name or a number in Latin letters keeps its blanks in every language.
    """
    if language and language.lower().split("-")[0] not in UNSPACED:
        return False
    if language:
        return not (before[-1].isascii() and after[0].isascii())
    return bool(_UNSPACED.match(before[-1]) and _UNSPACED.match(after))
