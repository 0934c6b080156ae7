"""A transcript as Mistral's SDK reads it.

It is known by its name, or by `diarize`, which newer ones always send and OpenAI's never.

Source: mistralai 3.7.0, `audio.transcriptions` (TranscriptionResponse, TranscriptionStreamEvents).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modgate.plugin import Fields, JsonObject, Request
from modgate_asr.languages import code_of
from modgate_asr.transcript import Segment, Transcript, Word

DELTA, SEGMENT, DONE = "transcription.text.delta", "transcription.segment", "transcription.done"
MARK = "diarize"
# For these a server must keep files, or know voices by name.
UNSUPPORTED = ("file_id", "file_url", "speaker_references")


def is_asked(request: Request, fields: Fields) -> bool:
    """Whether the client is Mistral's.  Refused when it asks for what no engine does."""
    known = request.surface.name == "mistral" or MARK in fields
    if not known or "response_format" in fields:
        return False
    for name in UNSUPPORTED:
        if name in fields:
            raise fields.fault(name, "unsupported_value", f"'{name}' is not supported")
    return True


def delta(said: str) -> JsonObject:
    """An event with more text."""
    return {"type": DELTA, "text": said}


def segment(row: Segment) -> JsonObject:
    """An event with a segment, which says who speaks."""
    return {**_row(row.text, row.start_ms, row.end_ms), "type": SEGMENT, "speaker_id": row.speaker}


def written(
    model: str, transcript: Transcript, duration_ms: int, rows: Iterable[Segment | Word]
) -> JsonObject:
    """The whole reply; with its type it is the last event, too.

    `rows`: the segments or words whose times are wanted.
    """
    return {
        "model": model,
        "text": transcript.text,
        "language": code_of(transcript.language),
        "segments": list(_chunks(rows)),
        "usage": _usage(transcript, duration_ms),
    }


def _chunks(rows: Iterable[Segment | Word]) -> Iterator[JsonObject]:
    for row in rows:
        text, speaker = (row.word, None) if isinstance(row, Word) else (row.text, row.speaker)
        chunk = {**_row(text, row.start_ms, row.end_ms), "type": "transcription_segment"}
        yield chunk if speaker is None else {**chunk, "speaker_id": speaker}


def _row(text: str, start_ms: int, end_ms: int) -> JsonObject:
    return {"text": text, "start": start_ms / 1000, "end": end_ms / 1000}


def _usage(transcript: Transcript, duration_ms: int) -> JsonObject:
    """Started seconds, and tokens, when the engine counted them for the whole recording."""
    into = transcript.tokens["input_tokens"] if transcript.counted else 0
    out = transcript.tokens["output_tokens"] if transcript.counted else 0
    return {
        "prompt_audio_seconds": -(-duration_ms // 1000),
        "prompt_tokens": into,
        "completion_tokens": out,
        "total_tokens": into + out,
    }
