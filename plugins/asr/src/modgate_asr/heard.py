"""One piece's reply, read into the neutral form: times of the file, and where everything stands in
the text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from modgate.plugin import BadReply, Fields, Json, JsonObject
from modgate_asr.transcript import RATE, Segment, Span, Word

KNOWN = frozenset({"start", "end", "text", "id", "seek", "speaker", "type", "words"})
LASTS_AT_MOST_S = 1e6
FLOATS = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
LATEST_S = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Where a piece of the recording lies, in samples.

    `fresh` is where its own audio begins, `next` where the piece behind it starts.  `silent`:
    nothing is to be heard in it, no engine is asked.
    """

    start: int
    fresh: int
    end: int
    next: int
    silent: bool = False

    @property
    def hard(self) -> bool:
        """Whether it ends in a hard cut: its last words are heard again."""
        return self.next < self.end

    @property
    def whole(self) -> bool:
        """Whether no word of it is heard twice."""
        return not self.hard and self.start == self.fresh

    @property
    def audio_ms(self) -> int:
        """What this piece is billed: overlap is not."""
        return ms_of(self.end) - ms_of(self.fresh)


def ms_of(samples: int) -> int:
    """Samples as whole milliseconds."""
    return samples * 1000 // RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A piece's transcript.  `timed`: its words have times and stand in the text, in order."""

    piece: Piece
    text: str
    segments: Sequence[Segment] = ()
    words: Sequence[Word] = ()
    logprobs: Sequence[tuple[Span, JsonObject]] = ()
    language: str = ""
    tokens: JsonObject | None = None

    @property
    def timed(self) -> bool:
        """Whether words can be joined by their times."""
        return bool(self.words) and all(word.at is not None for word in self.words)


def heard(piece: Piece, reply: Fields) -> Heard:
    """An engine's whole reply in the home wire; BadReply when it does not fit."""
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
    """Where each part stands in the text, one behind the other; None for all when one does not."""
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
    """A segment of the home wire with the times of the file."""
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
    """Without what typed SDKs could not read: an absent figure then gets its default."""
    for name in FLOATS:
        value = rest.get(name)
        if name in rest and (isinstance(value, bool) or not isinstance(value, int | float)):
            del rest[name]
    if not isinstance(rest.get("tokens", []), list):
        del rest["tokens"]
    return rest


def _written(values: JsonObject) -> JsonObject:
    """BadReply for what cannot be written, with what will be around it (254 levels in all)."""
    try:
        orjson.dumps([[[values]]])
    except TypeError:
        raise BadReply("the engine's reply is nested too deeply") from None
    return values


def _one_segment(piece: Piece, text: str) -> Segment:
    """Of an engine that gives no times: what was said lies somewhere in the piece."""
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
    """A time of the piece as one of the file: never beyond the piece, whatever the engine says."""
    seconds = min(LATEST_S, row.number(name, at_least=0))
    return min(ms_of(piece.end), ms_of(piece.start) + round(seconds * 1000))


def logprobs_of(rows: Iterable[Fields]) -> Iterator[tuple[Span, JsonObject]]:
    """Tokens with their log probabilities, and where each stands in the text."""
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
    """What an engine says that its piece lasts, be it in whole seconds; None when it does not."""
    said, usage = reply.get("duration"), reply.get("usage")
    if said is None and isinstance(usage, dict) and usage.get("type") == "duration":
        said = usage.get("seconds")
    try:
        seconds = float(said) if isinstance(said, int | float | str) else -1.0
    except (ValueError, OverflowError):
        return None
    return round(seconds * 1000) if 0 <= seconds <= LASTS_AT_MOST_S else None


def tokens_of(reply: Fields) -> JsonObject | None:
    """An engine's count of tokens, flat; None when it gives none."""
    usage = reply.get("usage")
    if not isinstance(usage, dict) or usage.get("type", "tokens") != "tokens":
        return None
    details = usage.get("input_token_details")
    flat = {**usage, **(details if isinstance(details, dict) else {})}
    names = ("input_tokens", "output_tokens", "audio_tokens", "text_tokens")
    found = {n: flat[n] for n in names if type(flat.get(n)) is int and flat[n] >= 0}
    return found if {"input_tokens", "output_tokens"} <= found.keys() else None
