"""Reading an engine's reply to one piece.

Its times become times of the file, and it is found out where each segment and word stands in the
text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from modgate.plugin import BadReply, Fields, Json, JsonObject
from modgate_asr.transcript import RATE, Segment, Span, Word

KNOWN = frozenset({"start", "end", "text", "id", "seek", "speaker", "type", "words"})  # of segments
LASTS_AT_MOST_S = 1e6
FLOATS = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
LATEST_S = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Where a piece of the recording lies, in samples at 16 kHz.

    `start`, `end`: what an engine is sent.
    `fresh`: where its own audio begins; what is before it is overlap with the piece in front.
    `next`: where the next piece starts; after a hard cut that is before `end`.
    `silent`: nothing can be heard in it, and no engine is asked.
    """

    start: int
    fresh: int
    end: int
    next: int
    silent: bool = False

    @property
    def hard(self) -> bool:
        """Whether it ends in a hard cut, so that its last words are heard again."""
        return self.next < self.end

    @property
    def whole(self) -> bool:
        """Whether none of its words is heard twice."""
        return not self.hard and self.start == self.fresh

    @property
    def audio_ms(self) -> int:
        """What is billed for it: all but the overlap in front."""
        return ms_of(self.end) - ms_of(self.fresh)


def ms_of(samples: int) -> int:
    """Samples as whole milliseconds."""
    return samples * 1000 // RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was heard in a piece.

    `logprobs`: tokens with their probabilities, each with its place in the text.  `language`: as
    the engine says it.  `tokens`: see `tokens_of`.
    """

    piece: Piece
    text: str
    segments: Sequence[Segment] = ()
    words: Sequence[Word] = ()
    logprobs: Sequence[tuple[Span, JsonObject]] = ()
    language: str = ""
    tokens: JsonObject | None = None

    @property
    def timed(self) -> bool:
        """Whether all words have times and stand in the text, so that it can be joined by them."""
        return bool(self.words) and all(word.at is not None for word in self.words)


def heard(piece: Piece, reply: Fields) -> Heard:
    """Read an engine's whole reply in the home wire.  BadReply when it does not fit."""
    segments = _listed(reply, "segments")
    text = (reply.text("text", "", empty=True) or "").strip()
    rows = [segment_of(piece, row) for row in segments]
    text = text or "".join(row.text for row in rows).strip()
    words = [_word(piece, row) for row in _listed(reply, "words")]
    if text and not rows:
        rows = [_one_segment(piece, text)]
    return Heard(
        piece=piece,
        text=text,
        segments=[
            replace(r, at=at) for r, at in zip(rows, _spans(text, _texts(rows)), strict=True)
        ],
        words=[
            replace(w, at=at)
            for w, at in zip(words, _spans(text, [w.word for w in words]), strict=True)
        ],
        logprobs=list(logprobs_of(_listed(reply, "logprobs"))),
        language=reply.text("language", "", empty=True) or "",
        tokens=tokens_of(reply),
    )


def _listed(reply: Fields, name: str) -> list[Fields]:
    return list(reply.each(name, empty=True)) if name in reply else []


def _texts(rows: Iterable[Segment]) -> list[str]:
    return [row.text for row in rows]


def _spans(text: str, parts: Sequence[str]) -> list[Span | None]:
    """Where each part stands in the text, one after the other; None for all if one does not."""
    found: list[Span | None] = []
    place = 0
    for part in (each.strip() for each in parts):
        start = text.find(part, place)
        if start < 0:
            return [None] * len(parts)
        place = start + len(part)
        found.append((start, place))
    return found


def segment_of(piece: Piece, row: Fields) -> Segment:
    """Read a segment of the home wire."""
    seek, speaker = row.get("seek"), row.get("speaker")
    rest = {name: value for name, value in row.values.items() if name not in KNOWN}
    start_ms = time_ms(piece, row, "start")
    return Segment(
        start_ms=start_ms,
        end_ms=max(start_ms, time_ms(piece, row, "end")),
        text=row.text("text", empty=True),
        seek=piece.start * 100 // RATE + (seek if type(seek) is int and seek > 0 else 0),
        speaker=speaker if isinstance(speaker, str) and speaker else None,
        rest=_written(_tidied(rest)),
    )


def _tidied(rest: JsonObject) -> JsonObject:
    """Without members that typed SDKs could not read; what is absent gets a default later."""
    for name in FLOATS:
        value = rest.get(name)
        if name in rest and (isinstance(value, bool) or not isinstance(value, int | float)):
            del rest[name]
    if not isinstance(rest.get("tokens", []), list):
        del rest["tokens"]
    return rest


def _written(values: JsonObject) -> JsonObject:
    """The values.  BadReply when they are nested too deeply to be written inside a reply.

    orjson writes 254 levels in all.
    """
    try:
        orjson.dumps([[[values]]])
    except TypeError:
        raise BadReply("the engine's reply is nested too deeply") from None
    return values


def _one_segment(piece: Piece, text: str) -> Segment:
    """The one segment of an engine that gives no times: it lasts as long as the piece."""
    return Segment(
        start_ms=ms_of(piece.start),
        end_ms=ms_of(piece.end),
        text=text,
        seek=piece.start * 100 // RATE,
    )


def _word(piece: Piece, row: Fields) -> Word:
    start_ms = time_ms(piece, row, "start")
    return Word(
        start_ms=start_ms,
        end_ms=max(start_ms, time_ms(piece, row, "end")),
        word=row.text("word", empty=True),
    )


def time_ms(piece: Piece, row: Fields, name: str) -> int:
    """A time of the piece as one of the file; one that is beyond the piece becomes its end."""
    seconds = min(LATEST_S, row.number(name, at_least=0))
    return min(ms_of(piece.end), ms_of(piece.start) + round(seconds * 1000))


def logprobs_of(rows: Iterable[Fields]) -> Iterator[tuple[Span, JsonObject]]:
    """Tokens with their log probabilities, each with its place in the text."""
    rows = list(rows)
    pieces = [_token(row) for row in rows]
    whole = "".join(pieces)
    place = -(len(whole) - len(whole.lstrip()))
    for token, row in zip(pieces, rows, strict=True):
        if not math.isfinite(row.number("logprob", 0.0)):
            raise row.wrong("logprob", "a finite number")
        blank = len(token) - len(token.lstrip())
        yield (place + blank, place + len(token)), _written(row.values)
        place += len(token)


def _token(row: Fields) -> str:
    value: Json = row.get("token")
    return value if isinstance(value, str) else ""


def lasted_ms(reply: Fields) -> int | None:
    """How long the piece is by the engine's word, which may be in whole seconds; None without."""
    said, usage = reply.get("duration"), reply.get("usage")
    if said is None and isinstance(usage, dict) and usage.get("type") == "duration":
        said = usage.get("seconds")
    try:
        seconds = float(said) if isinstance(said, int | float | str) else -1.0
    except (ValueError, OverflowError):
        return None
    return round(seconds * 1000) if 0 <= seconds <= LASTS_AT_MOST_S else None


def tokens_of(reply: Fields) -> JsonObject | None:
    """The engine's count of tokens, as one flat object; None when it gives none."""
    usage = reply.get("usage")
    if not isinstance(usage, dict) or usage.get("type", "tokens") != "tokens":
        return None
    details = usage.get("input_token_details")
    flat = {**usage, **(details if isinstance(details, dict) else {})}
    names = ("input_tokens", "output_tokens", "audio_tokens", "text_tokens")
    found = {n: flat[n] for n in names if type(flat.get(n)) is int and flat[n] >= 0}
    return found if {"input_tokens", "output_tokens"} <= found.keys() else None
