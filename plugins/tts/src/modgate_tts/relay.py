"""Relaying speech: pieces of PCM go in call order through one encoder, as audio or as events."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from modgate.plugin import SSE, BadReply, Event, Head, JsonObject, Outcome, Relay, Units, Usage
from modgate_tts import mistral
from modgate_tts.dialects import DATA_BYTES, SAMPLE_RATE
from modgate_tts.encode import CONTENT_TYPES, Encoder, encoder, with_length
from modgate_tts.join import Joiner, resampled
from modgate_tts.wav import RATE, SAMPLE_BYTES

DONE = b"data: [DONE]\n\n"
SLICE_BYTES = RATE * SAMPLE_BYTES // 10  # 100 ms, of which an encoder gives some at once


class Spoken(Relay):
    """The reply to one request.

    `characters`: how many each piece has, in call order.
    `events`: the audio is sent in events, and not as it is.
    `of_mistral`: the client is Mistral's, which reads JSON: events, or without them one reply.
    `pause_ms`: the silence between two pieces.
    `rate`: of the engine's samples in hertz, where it does not say.
    """

    def __init__(
        self,
        characters: Sequence[int],
        *,
        format_name: str,
        events: bool,
        of_mistral: bool = False,
        pause_ms: int = 0,
        rate: int = RATE,
    ) -> None:
        self._characters = list(characters)
        self._format = format_name
        self._encoder: Encoder | None = None  # made in the thread in which it works
        self._joiner = Joiner(len(self._characters) - 1, pause_ms)
        self._events = events
        self._of_mistral = of_mistral
        self._whole: list[bytes] | None = [] if of_mistral and not events else None
        self._rate = rate
        self._piece = -1
        self._promised: int | None = None  # bytes of PCM that the engine said would come
        self._pcm_bytes = 0  # that were encoded
        self._heard_bytes = 0  # of these, when audio last went out: an encoder holds some back
        self._closed = False
        audio = Head(kind="chunked", content_type=CONTENT_TYPES[format_name])
        head = SSE if events else Head() if of_mistral else audio
        self.head = replace(head, headers={"x-modgate-sample-rate": str(RATE)})

    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        """Take a chunk of a piece's PCM, of any length."""
        if not event.data:
            return
        rate = int(event.headers.get(SAMPLE_RATE, self._rate))
        if index != self._piece:
            self._check_spoken(index - 1)
            self._piece = index
            self._take_length(event, rate)
        yield from self._out(self._joiner.feed(index, event.data, rate))

    def _check_spoken(self, index: int) -> None:
        """Raise BadReply unless every piece up to this one gave speech."""
        if self._piece < index:
            raise BadReply("the engine sent no speech for a part of the text")

    def _take_length(self, event: Event, rate: int) -> None:
        """Take the length that the engine told, to write it in front of a single piece."""
        said = event.headers.get(DATA_BYTES)
        if said is not None and len(self._characters) == 1:
            self._promised = resampled(int(said), rate)
            self._own().promise(self._promised)

    def _out(self, pcm: bytes) -> Iterable[bytes]:
        if not pcm:
            return ()
        self._pcm_bytes += len(pcm)
        return self._said(self._own().encode(pcm))

    def _own(self) -> Encoder:
        if self._encoder is None:
            self._encoder = encoder(self._format)
        return self._encoder

    def _said(self, audio: bytes) -> Iterable[bytes]:
        if not audio:
            return ()
        if self._whole is not None:
            self._whole.append(audio)
            return ()
        self._heard_bytes = self._pcm_bytes
        if not self._events:
            return (audio,)
        if self._of_mistral:
            return (self.sse(mistral.delta(audio), mistral.DELTA),)
        text = base64.b64encode(audio).decode()
        return (self.sse({"type": "speech.audio.delta", "audio": text}),)

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """What joiner and encoder still hold, and the last event.

        BadReply when the engine spoke less than it said, or nothing for a piece.
        """
        self._check_spoken(len(self._characters) - 1)
        yield from self._out(self._joiner.end())
        if self._promised not in (None, self._pcm_bytes):
            raise BadReply("the engine's speech has not the length that it said")
        yield from self._said(self._own().finish())
        self._closed, self._heard_bytes = True, self._pcm_bytes
        count = sum(self._characters)
        if self._whole is not None:
            audio = with_length(self._format, b"".join(self._whole), self._pcm_bytes)
            yield self.json(mistral.written(audio))
        elif self._of_mistral:
            yield self.sse(mistral.done(count, self._speech_ms()), mistral.DONE)
        elif self._events:
            usage: JsonObject = {
                "input_tokens": count,
                "output_tokens": self._speech_ms(),
                "total_tokens": count + self._speech_ms(),
            }
            yield self.sse({"type": "speech.audio.done", "usage": usage})
            yield DONE

    def _speech_ms(self) -> int:
        return self._heard_bytes // SAMPLE_BYTES * 1000 // RATE

    def _begun(self) -> int:
        """How many pieces have begun to go out."""
        return self._piece + 1 if self._heard_bytes else 0

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The speech that was relayed, and the characters of the pieces that are billed.

        These are the ones that were spoken to their end and have begun to go out.
        """
        begun = zip(self._characters, outcomes[: self._begun()], strict=False)
        count = sum(characters for characters, outcome in begun if outcome.ok)
        units = Units(characters=count, speech_ms=self._speech_ms())
        return Usage(units, exact=self._closed, by="gateway")


class Encoded(Spoken):
    """A reply whose encoder takes processor time, so that it works in a thread.

    It encodes slice by slice, so that the first sound of a long piece leaves before the last one
    is encoded.
    """

    heavy = True

    def begin(self) -> None:
        """Make the encoder, which takes a few milliseconds."""
        self._own()

    def _out(self, pcm: bytes) -> Iterator[bytes]:
        for at in range(0, len(pcm), SLICE_BYTES):
            yield from super()._out(pcm[at : at + SLICE_BYTES])
