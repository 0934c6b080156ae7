"""Relaying speech: pieces of PCM in call order, through one encoder, as audio or as events."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence

from modgate.plugin import SSE, Event, Head, JsonObject, Outcome, Relay, Units, Usage
from modgate_tts.encode import CONTENT_TYPES, RATE, SAMPLE_BYTES, Encoder, encoder

DONE = b"data: [DONE]\n\n"


class Spoken(Relay):
    """One speech.  `characters`: of each piece, in call order."""

    def __init__(
        self, characters: Sequence[int], *, format_name: str, events: bool, pause_ms: int
    ) -> None:
        self._characters = list(characters)
        self._encoder: Encoder = encoder(format_name)
        self._events = events
        self._pause = bytes(RATE * pause_ms // 1000 * SAMPLE_BYTES)
        self._odd: dict[int, bytes] = {}
        self._pcm_bytes = 0
        self._last = 0
        rate = {"x-modgate-sample-rate": str(RATE)}
        audio = Head(kind="chunked", content_type=CONTENT_TYPES[format_name], headers=rate)
        self.head = SSE if events else audio

    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        """A chunk of PCM of any length; half a sample waits for its other half."""
        data = self._odd.pop(index, b"") + event.data
        if len(data) % SAMPLE_BYTES:
            self._odd[index] = data[-1:]
            data = data[:-1]
        if index > self._last and data:
            self._last = index
            data = self._pause + data
        if not data:
            return
        self._pcm_bytes += len(data)
        yield from self._out(self._encoder.encode(data))

    def _out(self, audio: bytes) -> Iterable[bytes]:
        if not audio:
            return ()
        if not self._events:
            return (audio,)
        text = base64.b64encode(audio).decode()
        return (self.sse({"type": "speech.audio.delta", "audio": text}),)

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """What the encoder still holds, and the last event."""
        yield from self._out(self._encoder.finish())
        if self._events:
            count = sum(self._characters)
            usage: JsonObject = {
                "input_tokens": count,
                "output_tokens": self._speech_ms(),
                "total_tokens": count + self._speech_ms(),
            }
            yield self.sse({"type": "speech.audio.done", "usage": usage})
            yield DONE

    def _speech_ms(self) -> int:
        return self._pcm_bytes // SAMPLE_BYTES * 1000 // RATE

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """Characters of the pieces that were spoken to their end, and the speech that was
        relayed."""
        done = [index for index, outcome in enumerate(outcomes) if outcome.ok]
        count = sum(self._characters[index] for index in done)
        units = Units(characters=count, speech_ms=self._speech_ms())
        return Usage(units, exact=len(done) == len(self._characters), by="gateway")


class Encoded(Spoken):
    """Formats whose encoder takes processor time: off the event loop."""

    heavy = True
