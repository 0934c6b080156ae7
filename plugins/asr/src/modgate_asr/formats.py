"""Writing a transcript in the format that a client wants.  Source: wire.md 4.1 and B4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from modgate.plugin import JsonObject
from modgate_asr import mistral
from modgate_asr.transcript import Segment, Transcript, Word

CONTENT_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
FORMATS = frozenset({"json", "text", "srt", "verbose_json", "vtt", "diarized_json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the client wants its transcript.

    `task`: `transcribe` or `translate`.  `words`, `segments`, `logprobs`: whether it wants them.
    `mistral`: the model as Mistral's client named it; '' for other clients.
    """

    format: str
    task: str
    stream: bool = False
    words: bool = False
    segments: bool = True
    logprobs: bool = False
    mistral: str = ""

    @property
    def timed(self) -> bool:
        """Whether Mistral's json has times, which it has when they are asked for."""
        return bool(self.mistral) and (self.words or self.segments)

    @property
    def speakers(self) -> bool:
        """Whether each segment must say who speaks."""
        return self.format == "diarized_json"


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: subtitles are counted from 1, and a comma stands before the milliseconds."""
    rows = []
    for number, row in enumerate(_shown(segments), 1):
        rows.append(f"{number}\n{_times(row, ',')}\n{_line(row)}\n\n")
    return "".join(rows)


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT."""
    rows = ["WEBVTT\n\n"]
    for row in _shown(segments):
        rows.append(f"{_times(row, '.')}\n{_line(row)}\n\n")
    return "".join(rows)


def _shown(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Segments in which something is said; for some players an empty one ends the file."""
    return (row for row in segments if row.text.strip())


def _line(row: Segment) -> str:
    """A subtitle's text on one line, for an empty line would end it."""
    return " ".join(row.text.split())


def _times(row: Segment, mark: str) -> str:
    """A subtitle's times; it lasts at least a millisecond."""
    return f"{_clock(row.start_ms, mark)} --> {_clock(max(row.end_ms, row.start_ms + 1), mark)}"


def _clock(milliseconds: int, mark: str) -> str:
    seconds, ms = divmod(milliseconds, 1000)
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    return f"{h:02}:{m:02}:{s:02}{mark}{ms:03}"


def segment_json(number: int, row: Segment) -> JsonObject:
    """A segment of verbose_json, with every member that typed SDKs require."""
    return {
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
        **row.rest,
        "id": number,
        "seek": row.seek,
        "start": row.start_ms / 1000,
        "end": row.end_ms / 1000,
        "text": row.text,
    }


def word_json(row: Word) -> JsonObject:
    """A word of verbose_json."""
    return {"word": row.word, "start": row.start_ms / 1000, "end": row.end_ms / 1000}


def spoken_json(number: int, row: Segment) -> JsonObject:
    """A segment that says who speaks, of diarized_json or as an event."""
    return {
        "type": "transcript.text.segment",
        "id": segment_id(number),
        "start": row.start_ms / 1000,
        "end": row.end_ms / 1000,
        "text": row.text,
        "speaker": row.speaker,
    }


def segment_id(number: int) -> str:
    """A segment's id, which counts from 1."""
    return f"seg_{number + 1:03}"


def duration_usage(duration_ms: int) -> JsonObject:
    """Usage in started seconds."""
    return {"type": "duration", "seconds": -(-duration_ms // 1000)}


def usage_json(transcript: Transcript, duration_ms: int) -> JsonObject:
    """Usage in tokens, when the engine counted them for the whole recording; else in seconds."""
    if not transcript.counted:
        return duration_usage(duration_ms)
    count = transcript.tokens
    into, out = count["input_tokens"], count["output_tokens"]
    usage: JsonObject = {
        "type": "tokens",
        "input_tokens": into,
        "output_tokens": out,
        "total_tokens": into + out,
    }
    audio = count.get("audio_tokens", into - count["text_tokens"])
    usage["input_token_details"] = {
        "audio_tokens": audio,
        "text_tokens": count.get("text_tokens", into - audio),
    }
    return usage


def written(wanted: Wanted, transcript: Transcript, duration_ms: int) -> str | JsonObject:
    """The whole reply: text, or an object to be written as JSON."""
    if wanted.mistral:
        return mistral_json(wanted, transcript, duration_ms)
    match wanted.format:
        case "text":
            return f"{transcript.text}\n"
        case "srt":
            return srt(transcript.segments)
        case "vtt":
            return vtt(transcript.segments)
        case "verbose_json":
            return _verbose(wanted, transcript, duration_ms)
        case "diarized_json":
            rows = enumerate(transcript.segments)
            return {
                "task": wanted.task,
                "duration": duration_ms / 1000,
                "text": transcript.text,
                "segments": [spoken_json(number, row) for number, row in rows],
                "usage": usage_json(transcript, duration_ms),
            }
        case _:
            found: JsonObject = {"text": transcript.text}
            if wanted.logprobs:
                found["logprobs"] = transcript.logprobs
            return {**found, "usage": usage_json(transcript, duration_ms)}


def mistral_json(wanted: Wanted, transcript: Transcript, duration_ms: int) -> JsonObject:
    """Mistral's reply, with the times that are wanted."""
    rows = transcript.words if wanted.words else transcript.segments if wanted.segments else ()
    return mistral.written(wanted.mistral, transcript, duration_ms, rows)


def _verbose(wanted: Wanted, transcript: Transcript, duration_ms: int) -> JsonObject:
    found: JsonObject = {
        "task": wanted.task,
        "language": transcript.language or "unknown",
        "duration": duration_ms / 1000,
        "text": transcript.text,
    }
    if wanted.segments:
        rows = enumerate(transcript.segments)
        found["segments"] = [segment_json(number, row) for number, row in rows]
    if wanted.words:
        found["words"] = [word_json(row) for row in transcript.words]
    return {**found, "usage": duration_usage(duration_ms)}
