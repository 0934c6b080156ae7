"""s16le PCM as the format that the client wants: one encoder for the whole reply.

wav, pcm and flac need nothing but soundfile; mp3, opus and aac need `av` (the extra
modgate[codecs]).
"""

from __future__ import annotations

import io
import struct
from abc import ABC, abstractmethod
from typing import Any

RATE = 24_000
SAMPLE_BYTES = 2
UNKNOWN = 0xFFFFFFFF
SAMPLE_FORMATS = {"mp3": "fltp", "opus": "flt", "aac": "fltp"}
CODECS = {"mp3": ("mp3", "libmp3lame"), "opus": ("ogg", "libopus"), "aac": ("adts", "aac")}
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
Untyped = Any  # JSON border: modules without types


def wav_header() -> bytes:
    """A WAV header of unknown length (wire.md B3): 24 kHz, mono, s16."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * SAMPLE_BYTES, SAMPLE_BYTES, 16)
    riff = b"RIFF" + struct.pack("<I", UNKNOWN) + b"WAVEfmt " + form
    return riff + b"data" + struct.pack("<I", UNKNOWN - 36)


class Encoder(ABC):
    """One reply's encoder: whole samples in, bytes out as soon as there are any."""

    @abstractmethod
    def encode(self, pcm: bytes) -> bytes:
        """More audio."""

    def finish(self) -> bytes:
        """What is left."""
        return b""


class Plain(Encoder):
    """pcm, and wav with its header in front."""

    def __init__(self, front: bytes = b"") -> None:
        self._front = front

    def encode(self, pcm: bytes) -> bytes:
        """The samples themselves."""
        front, self._front = self._front, b""
        return front + pcm

    def finish(self) -> bytes:
        """A reply without audio still has its header."""
        return self._front


class Flac(Encoder):
    """FLAC through libsndfile, written to memory and taken from there."""

    def __init__(self) -> None:
        import soundfile

        self._out = io.BytesIO()
        self._taken = 0
        self._file = soundfile.SoundFile(
            self._out, "w", samplerate=RATE, channels=1, format="FLAC", subtype="PCM_16"
        )

    def encode(self, pcm: bytes) -> bytes:
        """What the encoder gave so far."""
        self._file.buffer_write(pcm, dtype="int16")
        return self._new()

    def finish(self) -> bytes:
        """The last frames; the stream header stays that of an unknown length."""
        self._file.close()
        return self._new()

    def _new(self) -> bytes:
        data = self._out.getbuffer()[self._taken :].tobytes()
        self._taken += len(data)
        return data


class Lossy(Encoder):
    """mp3, opus and aac through av, into a container that needs no seeking."""

    def __init__(self, name: str) -> None:
        import av

        container, codec = CODECS[name]
        self._av: Untyped = av
        self._out = _Pipe()
        self._container: Untyped = av.open(self._out, "w", format=container)
        rate = 48_000 if name == "opus" else RATE
        self._stream: Untyped = self._container.add_stream(codec, rate=rate, layout="mono")
        self._resampler: Untyped = av.AudioResampler(
            format=SAMPLE_FORMATS[name], layout="mono", rate=rate
        )
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
        for piece in self._resampler.resample(frame):
            for packet in self._stream.encode(piece):
                self._container.mux(packet)

    def finish(self) -> bytes:
        """The last packets and the container's end."""
        self._push(None)
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        return self._out.take()


class _Pipe:
    """A file that is only written to."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        return data


def encoder(name: str) -> Encoder:
    """An encoder by response format; ImportError when its extra is not installed."""
    if name == "pcm":
        return Plain()
    if name == "wav":
        return Plain(wav_header())
    return Flac() if name == "flac" else Lossy(name)
