"""Encoding 16-bit PCM in the format that the client wants, with one encoder for a whole reply.

The formats pcm and wav need nothing, flac needs soundfile, and mp3, opus and aac need `av`, of the
extra modgate[codecs].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from weakref import finalize

from modgate_tts.wav import RATE, SAMPLE_BYTES, wav_header

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
Untyped = Any  # JSON border: modules without types


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How av writes a format, into a container in which it never goes back."""

    container: str
    codec: str
    bit_rate: int
    options: Mapping[str, str] = field(default_factory=dict)
    effort: Mapping[str, str] = field(default_factory=dict)


# An Ogg page holds a second by default, and the first is written when the third begins.
CODECS = {
    "mp3": Codec(
        container="mp3", codec="libmp3lame", bit_rate=64_000,
        options={"id3v2_version": "0", "write_xing": "0"}, effort={"compression_level": "7"},
    ),
    "opus": Codec(
        container="ogg", codec="libopus", bit_rate=32_000,
        options={"page_duration": "100000", "flush_packets": "1"},
        effort={"compression_level": "5"},
    ),
    "aac": Codec(
        container="adts", codec="aac", bit_rate=64_000,
        effort={"aac_coder": "fast"},
    ),
}  # fmt: skip  # rows as they are read


class Encoder(ABC):
    """The encoder of one reply: whole samples go in, bytes come out as soon as there are any."""

    def promise(self, data_bytes: int) -> None:
        """How much PCM will come, told before the first of it; most formats cannot say it."""
        del data_bytes

    @abstractmethod
    def encode(self, pcm: bytes) -> bytes:
        """Encode more samples; the answer may be empty."""

    def finish(self) -> bytes:
        """The bytes that are left."""
        return b""


class Plain(Encoder):
    """The formats pcm, and wav with a header in front."""

    def __init__(self, front: bytes = b"") -> None:
        self._front = front

    def promise(self, data_bytes: int) -> None:
        """A WAV says it in its header."""
        self._front = self._front and wav_header(data_bytes)

    def encode(self, pcm: bytes) -> bytes:
        """The samples themselves."""
        front, self._front = self._front, b""
        return front + pcm

    def finish(self) -> bytes:
        """A reply without audio still has its header."""
        return self._front


class Flac(Encoder):
    """FLAC through libsndfile, which tells the length at the end: in a header that has left."""

    def __init__(self) -> None:
        import soundfile

        self._promised: int | None = None

        self._out = _Tape()
        self._file = soundfile.SoundFile(
            self._out, "w", samplerate=RATE, channels=1, format="FLAC", subtype="PCM_16"
        )

    def promise(self, data_bytes: int) -> None:
        """Written over the header, which libsndfile gives together with the first samples."""
        self._promised = data_bytes

    def encode(self, pcm: bytes) -> bytes:
        """What the encoder gave so far."""
        self._file.buffer_write(pcm, dtype="int16")
        return self._said()

    def finish(self) -> bytes:
        """The last frames."""
        self._file.close()
        return self._said()

    def _said(self) -> bytes:
        audio = self._out.take()
        if audio and self._promised is not None:
            audio, self._promised = with_length("flac", audio, self._promised), None
        return audio


class Lossy(Encoder):
    """mp3, opus and aac through av."""

    def __init__(self, how: Codec) -> None:
        import av

        self._av: Untyped = av
        self._out = _Pipe()
        self._container: Untyped = av.open(
            self._out, "w", format=how.container, options=dict(how.options)
        )
        # What av makes holds each other: the codec of a speech that nobody hears to its end would
        # keep its memory (lame: 700 KB) until the oldest objects are collected.
        finalize(self, self._container.close).atexit = False
        stream: Untyped = self._container.add_stream(
            how.codec, rate=RATE, layout="mono", options=dict(how.effort)
        )
        stream.bit_rate = how.bit_rate
        self._container.start_encoding()  # lame takes its time, and now nobody waits for it
        self._stream = stream
        self._pts = 0

    def encode(self, pcm: bytes) -> bytes:
        """What the encoder gave so far."""
        frame: Untyped = self._av.AudioFrame(
            format="s16", layout="mono", samples=len(pcm) // SAMPLE_BYTES
        )
        frame.planes[0].update(pcm)
        frame.sample_rate = RATE
        frame.pts = self._pts
        self._pts += frame.samples
        self._push(frame)
        return self._out.take()

    def _push(self, frame: Untyped) -> None:
        """A frame of any length: av brings it to the codec's own length and form of samples."""
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def finish(self) -> bytes:
        """The last packets and the container's end."""
        self._push(None)
        self._container.close()
        return self._out.take()


class _Pipe:
    """A file to write to, which forgets what was taken out of it."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._taken = 0

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._held)
        self._taken += len(data)
        self._held.clear()
        return data


class _Tape(_Pipe):
    """A pipe for a writer that goes back.

    What it would change before the end, a length in a header that has left long ago, is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self._at = 0

    def write(self, data: bytes) -> int:
        new = max(0, self._at + len(data) - self._taken - len(self._held))
        self._at += len(data)
        super().write(data[len(data) - new :])
        return len(data)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._taken + len(self._held))[whence]
        return self._at


def installed(name: str) -> bool:
    """Whether what a format needs is installed.  Nothing is imported to find out."""
    return name not in CODECS or find_spec("av") is not None


def encoder(name: str) -> Encoder:
    """The encoder of a response format, whose packages must be installed."""
    if name in ("pcm", "wav"):
        return Plain(wav_header() if name == "wav" else b"")
    return Flac() if name == "flac" else Lossy(CODECS[name])


def with_length(name: str, audio: bytes, data_bytes: int) -> bytes:
    """The same WAV or FLAC, whose header says how much PCM is in it; other formats say nothing.

    Source: RFC 9639 8.2: 36 bits, behind what 28 bits say of the samples.
    """
    if name == "wav":
        front = wav_header(data_bytes)
        return front + audio[len(front) :]
    if name == "flac":
        said = int.from_bytes(audio[18:26]) >> 36 << 36 | data_bytes // SAMPLE_BYTES
        return audio[:18] + said.to_bytes(8) + audio[26:]
    return audio
