"""Joining the pieces of a recording into one transcript, streamed or whole.

What a piece says goes out as soon as it is final.  When the piece ends at silence, that is all of
it.  When it ends in a hard cut, the words of the overlap wait for the next piece, which heard them,
too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from modgate.plugin import (
    NOTHING,
    SSE,
    BadReply,
    Event,
    Fields,
    Head,
    JsonObject,
    Outcome,
    Relay,
    Units,
    Usage,
)
from modgate_asr import mistral
from modgate_asr.formats import (
    CONTENT_TYPES,
    Wanted,
    mistral_json,
    spoken_json,
    usage_json,
    written,
)
from modgate_asr.heard import (
    Heard,
    Piece,
    heard,
    lasted_ms,
    logprobs_of,
    ms_of,
    segment_of,
    tokens_of,
)
from modgate_asr.stitch import Join, held_from, join
from modgate_asr.transcript import Segment, Span, Transcript, Word

DONE = b"data: [DONE]\n\n"
DELTA = "transcript.text.delta"


@dataclass(slots=True)
class _Held:
    """A piece before a hard cut, of which the end waits.

    `kept`: the character from which on its text stays.  `said`: the one up to which it went out.
    """

    heard: Heard
    kept: int
    said: int


class Transcribed(Relay):
    """The reply to one request.  `drew` is called for each piece, in order, as it is cut."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._pieces: list[Piece] = []
        self._calls: list[int] = []  # the piece of each call
        self._passed = 0  # how many pieces are transcribed, in order
        self._transcript = Transcript()
        self._held: _Held | None = None
        self._live = False  # an engine's stream has said something of its piece
        self._closed = False
        self._apart_ms: int | None = 0  # engines said that they heard so much more than was sent
        kind = CONTENT_TYPES.get(wanted.format, "application/json")
        self.head = SSE if wanted.stream else Head(content_type=kind)

    def drew(self, piece: Piece) -> None:
        """The next piece was cut; a call follows for it unless it is silent."""
        if not piece.silent:
            self._calls.append(len(self._pieces))
        self._pieces.append(piece)

    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        """Take a piece's whole transcript, or an event of the stream of it."""
        place, reply = self._calls[index], event.fields()
        piece, kind = self._pieces[place], reply.get("type")
        if place < self._passed:
            raise BadReply("the engine's reply goes on behind its end")
        if isinstance(kind, str) and kind.startswith("transcript.text."):
            yield from self._streamed(place, piece, kind, reply)
            return
        if "text" not in reply and "segments" not in reply:
            raise BadReply("the engine's reply is not a transcript")
        found = self._checked(heard(piece, reply))
        self._passed = place + 1
        self._transcript.heard(found.language, piece.audio_ms, found.tokens)
        self._compare(piece, reply)
        yield from self._added(place, found)

    def _compare(self, piece: Piece, reply: Fields) -> None:
        lasted = lasted_ms(reply)
        if self._apart_ms is not None:
            sent_ms = ms_of(piece.end - piece.start)
            self._apart_ms = self._apart_ms + lasted - sent_ms if lasted is not None else None

    def _checked(self, found: Heard) -> Heard:
        if self._wanted.words and found.text and not found.words:
            raise BadReply("the engine gives no times of words")
        if self._wanted.speakers and any(row.speaker is None for row in found.segments):
            raise BadReply("the engine does not tell speakers apart")
        return found

    # --- whole replies of pieces

    def _added(self, place: int, found: Heard) -> Iterator[bytes]:
        start = 0
        if self._held is not None:
            at = None if self._pieces[place - 1].silent else join(self._held.heard, found)
            yield from self._let_go(at)
            start = at.right if at is not None else 0
        if not found.piece.hard:
            yield from self._said(found, start, len(found.text), first=True)
            yield from self._final(found, start, len(found.text))
            return
        end = max(start, held_from(found))
        end = start + len(found.text[start:end].rstrip())
        yield from self._said(found, start, end, first=True)
        self._held = _Held(found, start, end)

    def _let_go(self, at: Join | None) -> Iterator[bytes]:
        """Let out the rest of the piece that was held, up to where the next one goes on.

        `at`: where to join; None: nobody heard its last words again.
        """
        held, self._held = self._held, None
        if held is None:
            return
        if at is None:
            alone = replace(held.heard.piece, next=held.heard.piece.end)
            held = replace(held, heard=replace(held.heard, piece=alone))
        end = max(held.said, at.left if at is not None else len(held.heard.text))
        yield from self._said(held.heard, held.said, end, first=held.said == held.kept)
        yield from self._final(held.heard, held.kept, end)

    def _said(self, found: Heard, start: int, end: int, *, first: bool) -> Iterator[bytes]:
        """Put text of a piece into the transcript; a stream gets a delta for each segment.

        `first`: nothing of this piece is in the transcript yet.
        """
        end = start + len(found.text[start:end].rstrip())
        edges = [row.at[1] for row in found.segments if row.at is not None]
        edges = [start, *(edge for edge in edges if start < edge < end), end]
        for begin, behind in pairwise(edges):
            text = found.text[begin:behind]
            say = self._transcript.joined(text, self._spoken(found.language)) if first else text
            if not first:
                self._transcript.continued(text)
            first = first and not say
            if say and self._wanted.stream:
                yield self._delta(say, self._tokens(found, begin, behind))

    def _tokens(self, found: Heard, start: int, end: int) -> list[JsonObject]:
        """The tokens that begin in a part of the text, where they are wanted."""
        if not self._wanted.logprobs:
            return []
        first, behind = (bisect_left(found.logprobs, at, key=_place) for at in (start, end))
        return [row for _, row in found.logprobs[first:behind]]

    def _spoken(self, heard: str) -> str:
        """The language of the text, which for a translation is English, whatever was heard."""
        return "english" if self._wanted.task == "translate" else heard

    def _delta(self, said: str, logprobs: list[JsonObject]) -> bytes:
        if self._wanted.mistral:
            return self.sse(mistral.delta(said), mistral.DELTA)
        event: JsonObject = {"type": DELTA, "delta": said}
        if self._wanted.logprobs:
            event["logprobs"] = logprobs
        return self.sse(event)

    def _final(self, found: Heard, start: int, end: int) -> Iterator[bytes]:
        """Put a piece's segments and words into the transcript, cut to the text that stays."""
        whole = found.piece.whole
        rows = found.segments if whole else list(_segments_in(found, start, end))
        words = found.words if whole else list(_words_in(found, start, end))
        self._transcript.logprobs += self._tokens(found, start, end)
        yield from self._extended(rows, words)

    def _extended(self, rows: Sequence[Segment], words: Sequence[Word]) -> Iterator[bytes]:
        number = len(self._transcript.segments)
        kept = self._transcript.extend(rows, words)
        if self._wanted.stream and self._wanted.speakers:
            for place, row in enumerate(kept, number):
                if self._wanted.mistral:
                    yield self.sse(mistral.segment(row), mistral.SEGMENT)
                else:
                    yield self.sse(spoken_json(place, row))

    # --- an engine's own stream, of a piece of which no word is heard twice

    def _streamed(self, place: int, piece: Piece, kind: str, reply: Fields) -> Iterator[bytes]:
        match kind:
            case "transcript.text.delta":
                probs = [row for _, row in logprobs_of(_rows(reply))]
                yield from self._live_text(reply.text("delta", empty=True), probs)
            case "transcript.text.segment":
                yield from self._live_segment(piece, reply)
            case "transcript.text.done":
                if not self._live:
                    text = reply.text("text", "", empty=True) or ""
                    yield from self._live_text(text, [row for _, row in logprobs_of(_rows(reply))])
                self._passed, self._live = place + 1, False
                language = reply.text("language", "", empty=True) or ""
                self._transcript.heard(language, piece.audio_ms, tokens_of(reply))
                self._compare(piece, reply)

    def _live_text(self, text: str, logprobs: list[JsonObject]) -> Iterator[bytes]:
        transcript = self._transcript
        if not self._live:
            text = text.lstrip()
            say = transcript.gap(text, transcript.language) + text if text else ""
        else:
            say = text
        if not say:
            return
        self._live = True
        transcript.continued(say)
        if self._wanted.logprobs:
            transcript.logprobs += logprobs
        yield self._delta(say, logprobs)

    def _live_segment(self, piece: Piece, reply: Fields) -> Iterator[bytes]:
        row = segment_of(piece, reply)
        if self._wanted.speakers and row.speaker is None:
            raise BadReply("the engine does not tell speakers apart")
        yield from self._extended([row], [])

    # --- the end

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The whole transcript, or the last event of a stream."""
        del outcomes
        self._closed = True
        yield from self._let_go(None)
        lasts_ms = ms_of(self._pieces[-1].end) if self._pieces else 0
        if not self._wanted.stream:
            found = written(self._wanted, self._transcript, lasts_ms)
            yield found.encode() if isinstance(found, str) else self.json(found)
            return
        if self._wanted.mistral:
            whole = mistral_json(self._wanted, self._transcript, lasts_ms)
            yield self.sse({"type": mistral.DONE, **whole}, mistral.DONE)
            return
        done: JsonObject = {"type": "transcript.text.done", "text": self._transcript.text}
        if self._wanted.logprobs:
            done["logprobs"] = self._transcript.logprobs
        yield self.sse({**done, "usage": usage_json(self._transcript, lasts_ms)})
        yield DONE

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The audio up to the first piece that is not transcribed; silent ones never wait for that.

        `other`: how much audio the engines said that they heard.
        """
        waits = (
            place
            for place, piece in enumerate(self._pieces)
            if place >= self._passed and not piece.silent
        )
        counted = next(waits, len(self._pieces))
        whole = counted == len(self._pieces) and all(each.ok for each in outcomes)
        end = self._pieces[counted - 1].end if counted else 0
        lasts_ms, exact = ms_of(end), whole and self._closed
        heard_ms = lasts_ms + self._apart_ms if self._calls and self._apart_ms is not None else None
        other = Units(audio_ms=max(0, heard_ms)) if exact and heard_ms is not None else NOTHING
        return Usage(Units(audio_ms=lasts_ms), exact=exact, by="gateway", other=other)


def _rows(reply: Fields) -> list[Fields]:
    return list(reply.each("logprobs", empty=True)) if "logprobs" in reply else []


def _place(token: tuple[Span, JsonObject]) -> int:
    return token[0][0]


def _segments_in(found: Heard, start: int, end: int) -> Iterator[Segment]:
    """The segments of a part of the text, cut where it is cut."""
    for row in found.segments:
        if row.at is None:
            if _inside(found.piece, row.middle_ms):
                yield row
            continue
        at = (max(row.at[0], start), min(row.at[1], end))
        if at == row.at:
            yield row
        elif at[0] < at[1]:
            yield _shortened(found, row, at)


def _shortened(found: Heard, row: Segment, at: Span) -> Segment:
    """A part of a segment: it lasts as long as its words, and has no tokens any more."""
    words = [word for word in _words_in(found, *at) if word.at is not None]
    blank = row.text[: len(row.text) - len(row.text.lstrip())]
    return replace(
        row,
        text=blank + found.text[at[0] : at[1]].strip(),
        start_ms=words[0].start_ms if words and at[0] != (row.at or at)[0] else row.start_ms,
        end_ms=words[-1].end_ms if words and at[1] != (row.at or at)[1] else row.end_ms,
        rest={name: value for name, value in row.rest.items() if name != "tokens"},
    )


def _words_in(found: Heard, start: int, end: int) -> Iterator[Word]:
    for word in found.words:
        if word.at is None:
            if _inside(found.piece, word.middle_ms):
                yield word
        elif start <= word.at[0] < end:
            yield word


def _inside(piece: Piece, at_ms: int) -> bool:
    """Whether a time is nearer to a piece than to its neighbours.

    That is: between the middles of the overlaps at its two ends.
    """
    first = (ms_of(piece.start) + ms_of(piece.fresh)) // 2
    last = (ms_of(piece.next) + ms_of(piece.end)) // 2
    return (piece.start == piece.fresh or at_ms >= first) and (not piece.hard or at_ms < last)
