"""Counting a reply in native units while it is read, event by event and byte by byte."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Literal, Protocol

from oracle.count_conversations import ConversationEvents
from oracle.count_events import Counting, Events, Tokens
from oracle.count_whole import WHOLE, transcript_units
from oracle.media import read_wav, speech_breaks
from oracle.requests import ClientRequest
from oracle.words import PCM_BYTES_MS, WORD_MS, items, members, whole

_WORD = re.compile(r"\bw(\d{3})\b")


class Count(Protocol):
    """What was read so far.

    `events`: pieces of content, as the client sees them.  `finished`: the reply said that it is
    whole.  `error`: an error that the reply told of.  `notes`: what is wrong with the content.
    """

    units: dict[str, int]
    events: int
    finished: bool
    error: str | None
    notes: list[str]

    def feed(self, data: bytes) -> None:
        """Count more of the body."""

    def end(self) -> None:
        """The body is whole, as its framing says."""


def count_for(request: ClientRequest) -> Count:
    """The count that fits what the client asked for."""
    match request.reader:
        case "chat_sse" | "completion_sse":
            return TextEvents(request)
        case "message_sse" | "response_sse" | "spoken_sse":
            return ConversationEvents(request)
        case "transcript_sse":
            return TranscriptEvents(request)
        case "speech_sse":
            return SpeechEvents(request)
        case "pcm" | "wav" | "opaque":
            return Audio(request)
        case _:
            return Whole(request)


class Whole(Counting):
    """A body that means nothing before its end."""

    def __init__(self, request: ClientRequest) -> None:
        super().__init__(request)
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        self._body += data

    def end(self) -> None:
        try:
            self.units, notes = WHOLE[self._request.reader](self._request, bytes(self._body))
        except (ValueError, KeyError, IndexError) as error:
            self.notes.append(f"cannot read the reply: {error}")
            return
        self.notes += notes
        self.events, self.finished = 1, True


class TextEvents(Events):
    """A chat or completion in chunks."""

    def __init__(self, request: ClientRequest) -> None:
        super().__init__(request)
        self._tokens = Tokens(self.notes)
        self._ends = False

    def take(self, value: dict[str, object]) -> None:
        for entry in map(members, items(value.get("choices"))):
            text = members(entry.get("delta")).get("content") or entry.get("text")
            if isinstance(text, str) and text:
                self._tokens.feed(whole(entry.get("index")), text)
                self.events += 1
            self._ends = self._ends or entry.get("finish_reason") is not None
        self.units[f"{self._request.modality}.output_tokens"] = self._tokens.count
        if usage := members(value.get("usage")):
            self._take_usage(usage)

    def _take_usage(self, usage: dict[str, object]) -> None:
        if not self._request.usage:
            self.notes.append("usage came unasked")
        said = whole(usage.get("completion_tokens"))
        if said != self._tokens.count:
            self.notes.append(f"usage says {said} tokens, {self._tokens.count} came")
        self.units[f"{self._request.modality}.input_tokens"] = whole(usage.get("prompt_tokens"))

    def end(self) -> None:
        super().end()
        self.finished = self._done and self._ends
        if self.finished and self.error is None:
            self.units.update(self._request.sent)


class TranscriptEvents(Events):
    """A transcript in deltas; counts the audio that the words so far surely stand for."""

    def __init__(self, request: ClientRequest) -> None:
        super().__init__(request)
        self._words = 0
        self._starts = 0
        self._text = ""
        self._whole: str | None = None

    def take(self, value: dict[str, object]) -> None:
        match value.get("type"):
            case "transcript.text.delta":
                self._take_delta(str(value.get("delta")))
            case "transcript.text.done":
                self._whole = str(value.get("text"))

    def _take_delta(self, text: str) -> None:
        self.events += 1
        self._text += text
        found = _WORD.findall(text)
        self._words += len(found)
        # The last word of a window may stand for less than half a second.
        self._starts += found.count("000")
        self.units["asr.audio_ms"] = max(0, self._words - self._starts) * WORD_MS

    def end(self) -> None:
        super().end()
        self.finished = self._done and self._whole is not None
        if self.finished:
            self.units, notes = transcript_units(self._request, self._text)
            self.notes += notes
            if self._whole != self._text:
                self.notes.append("the deltas joined are not the text of the last event")


class Audio(Counting):
    """A body of audio: PCM counts by its bytes, WAV by those behind its header, others not."""

    def __init__(self, request: ClientRequest) -> None:
        super().__init__(request)
        self._kind: Literal["pcm", "wav", "opaque"] = "opaque"
        if request.reader == "pcm" or request.reader == "wav":
            self._kind = request.reader
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        self._body += data
        self.events += bool(data)
        if self._kind != "opaque":
            samples = max(0, len(self._body) - self._starts_at)
            self.units["tts.speech_ms"] = samples // PCM_BYTES_MS

    @property
    def _starts_at(self) -> int:
        """Where the samples begin; behind what was read while a WAV's header is not whole."""
        if self._kind == "pcm":
            return 0
        header = read_wav(bytes(self._body[:256]))
        return header.starts_at if header else len(self._body)

    @property
    def breaks(self) -> int:
        """How often the sound is not continuous; as often as calls join, when nothing is lost."""
        return speech_breaks(bytes(self._body[self._starts_at :]))

    def end(self) -> None:
        self.finished = bool(self._body)
        self.units.update(self._request.sent)


class SpeechEvents(Events):
    """PCM in base64, in events."""

    def __init__(self, request: ClientRequest) -> None:
        super().__init__(request)
        self._pcm = bytearray()
        self._last = False

    @property
    def breaks(self) -> int:
        """As `Audio.breaks`."""
        return speech_breaks(bytes(self._pcm))

    def take(self, value: dict[str, object]) -> None:
        match value.get("type"):
            case "speech.audio.delta":
                try:
                    self._pcm += b64decode(str(value.get("audio")), validate=True)
                except Base64Error:
                    self.notes.append("audio is no base64")
                self.events += 1
            case "speech.audio.done":
                self._last = True
        self.units["tts.speech_ms"] = len(self._pcm) // PCM_BYTES_MS

    def end(self) -> None:
        super().end()
        self.finished = self._last
        if self._last:
            self.units.update(self._request.sent)
