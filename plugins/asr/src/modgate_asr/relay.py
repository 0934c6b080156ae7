"""Joining the pieces of a recording into one transcript, streamed or whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from modgate.plugin import (
    SSE,
    BadReply,
    Event,
    Head,
    Json,
    JsonObject,
    Outcome,
    Relay,
    Units,
    Usage,
)
from modgate_asr.transcript import RATE, Transcript, segment_json, srt, vtt, word_json

DONE = b"data: [DONE]\n\n"
CONTENT_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the client wants its transcript."""

    format: str
    task: str
    stream: bool = False
    words: bool = False
    segments: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Where a piece lies, in samples; `fresh` is where its own audio begins."""

    start: int
    fresh: int
    end: int

    @property
    def audio_ms(self) -> int:
        """What this piece is billed: overlap is not."""
        return self.end * 1000 // RATE - self.fresh * 1000 // RATE


class Transcribed(Relay):
    """One recording.  `pieces` is filled while calls are drawn, in call order."""

    def __init__(self, wanted: Wanted) -> None:
        self.pieces: list[Piece] = []
        self._wanted = wanted
        self._transcript = Transcript()
        self._done: list[int] = []
        kind = CONTENT_TYPES.get(wanted.format, "application/json")
        self.head = SSE if wanted.stream else Head(content_type=kind)

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """One piece's verbose_json."""
        piece, reply = self.pieces[index], event.fields()
        if "text" not in reply and "segments" not in reply:
            raise BadReply("the engine's reply is not a transcript")
        said = self._transcript.add(reply, start=piece.start, fresh=piece.fresh, end=piece.end)
        self._done.append(index)
        if not self._wanted.stream or not said:
            return ()
        return (self.sse({"type": "transcript.text.delta", "delta": said}),)

    def _duration_ms(self) -> int:
        return self.pieces[-1].end * 1000 // RATE if self.pieces else 0

    def _usage_json(self) -> JsonObject:
        return {"type": "duration", "seconds": -(-self._duration_ms() // 1000)}

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The whole transcript, or the stream's last event."""
        transcript = self._transcript
        if self._wanted.stream:
            done = {"type": "transcript.text.done", "text": transcript.text}
            yield self.sse({**done, "usage": self._usage_json()})
            yield DONE
            return
        yield self._written()

    def _written(self) -> bytes:
        transcript = self._transcript
        match self._wanted.format:
            case "text":
                return f"{transcript.text}\n".encode()
            case "srt":
                return srt(transcript.segments).encode()
            case "vtt":
                return vtt(transcript.segments).encode()
            case "verbose_json":
                return self.json(self._verbose())
            case _:
                return self.json({"text": transcript.text, "usage": self._usage_json()})

    def _verbose(self) -> Json:
        transcript = self._transcript
        found: JsonObject = {
            "task": self._wanted.task,
            "language": transcript.language or "unknown",
            "duration": self._duration_ms() / 1000,
            "text": transcript.text,
        }
        if self._wanted.segments:
            rows = enumerate(transcript.segments)
            found["segments"] = [segment_json(number, row) for number, row in rows]
        if self._wanted.words:
            found["words"] = [word_json(row) for row in transcript.words]
        return {**found, "usage": self._usage_json()}

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The decoded duration of the pieces that were transcribed."""
        count = sum(self.pieces[index].audio_ms for index in self._done)
        whole = len(self._done) == len(self.pieces) and all(each.ok for each in outcomes)
        return Usage(Units(audio_ms=count), exact=whole and bool(self._done), by="gateway")
