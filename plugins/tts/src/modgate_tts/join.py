"""Joining pieces of speech: whole samples, at one rate, without a click where two pieces meet.

A piece ends where its engine stopped, which need not be at silence.  Put end to end, the wave would
jump there, and that is heard as a click.  So the last 4 ms before a joint are faded out, and the
first 4 ms after it are faded in.  A crossfade of 8 ms would do as well, but it would shorten the
speech at each joint.  In this way it is as long as its pieces, and the bill is what engines sent.
Source: algorithms.md 6.2 (8 ms at a joint).
"""

from __future__ import annotations

import math
import sys
from array import array

from modgate.plugin import Json
from modgate_tts.wav import RATE, SAMPLE_BYTES

FADE = RATE * 4 // 1000  # samples
_RISE = tuple(0.5 - 0.5 * math.cos(math.pi * (at + 0.5) / FADE) for at in range(FADE))
_TAIL_BYTES = FADE * SAMPLE_BYTES


class Joiner:
    """Joins the pieces of one speech.

    `last`: the number of the last piece.  `pause_ms`: the silence between two pieces.
    """

    def __init__(self, last: int, pause_ms: int) -> None:
        self._last = last
        self._pause = bytes(RATE * pause_ms // 1000 * SAMPLE_BYTES)
        self._piece = 0
        self._faded = FADE  # samples of this piece that are past its rise
        self._held = b""
        self._odd = b""
        self._resampler: Resampler | None = None

    def feed(self, piece: int, pcm: bytes, rate: int) -> bytes:
        """Take more PCM of a piece; the answer is what may go out.

        Pieces come in order, and their PCM is cut anywhere.  `rate`: in hertz.
        """
        front = self._turn(piece) if piece != self._piece else b""
        data = self._odd + pcm
        whole = len(data) - len(data) % SAMPLE_BYTES
        self._odd, data = data[whole:], data[:whole]
        if rate != RATE and self._resampler is None:
            self._resampler = Resampler(rate)
        if self._resampler is not None:
            data = self._resampler.take(data)
        return front + self._hold(self._risen(data))

    def end(self) -> bytes:
        """What is left of the last piece."""
        rest = self._flushed()
        held, self._held = self._held, b""
        return held + rest

    def _turn(self, piece: int) -> bytes:
        """Begin the next piece; the answer is the end of the one before, and the pause."""
        ended = bytearray(self._held + self._flushed())
        at = max(0, len(ended) - _TAIL_BYTES)
        faded = _scaled(bytes(ended[at:]), _RISE[::-1][FADE - (len(ended) - at) // SAMPLE_BYTES :])
        self._held = self._odd = b""
        self._piece, self._faded = piece, 0
        return bytes(ended[:at]) + faded + self._pause

    def _flushed(self) -> bytes:
        resampler, self._resampler = self._resampler, None
        return self._risen(resampler.end()) if resampler is not None else b""

    def _risen(self, data: bytes) -> bytes:
        if self._faded >= FADE or not data:
            return data
        rise = _RISE[self._faded :]
        at = min(len(data), len(rise) * SAMPLE_BYTES)
        self._faded += at // SAMPLE_BYTES
        return _scaled(data[:at], rise) + data[at:]

    def _hold(self, data: bytes) -> bytes:
        """What may go out: all but the end, which may have to be faded out."""
        if self._piece >= self._last:
            return data
        data = self._held + data
        at = max(0, len(data) - _TAIL_BYTES)
        self._held = data[at:]
        return data[:at]


def _scaled(pcm: bytes, by: tuple[float, ...]) -> bytes:
    """The samples, each times its factor."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    scaled = array("h", (round(each * factor) for each, factor in zip(samples, by, strict=False)))
    if sys.byteorder == "big":
        scaled.byteswap()
    return scaled.tobytes()


def resampled(data_bytes: int, rate: int) -> int:
    """How many bytes PCM of a rate in hertz has at 24 kHz."""
    return (2 * (data_bytes // SAMPLE_BYTES) * RATE + rate) // (2 * rate) * SAMPLE_BYTES


class Resampler:
    """Brings the samples of one piece from another rate to 24 kHz, as many as `resampled` says."""

    def __init__(self, rate: int) -> None:
        import numpy as np
        import soxr

        self._np: Json = np
        self._rate = rate
        self._took_bytes = self._gave_bytes = 0
        # Not in int16: that is dithered, so the same speech would never be the same twice.
        self._stream: Json = soxr.ResampleStream(rate, RATE, 1, dtype="float32")

    def take(self, pcm: bytes) -> bytes:
        """Take more samples; what comes out is late by the delay of a filter."""
        given = self._given(pcm, last=False)
        self._took_bytes += len(pcm)
        self._gave_bytes += len(given)
        return given

    def end(self) -> bytes:
        """The rest: its length may have been promised, so it is not left to the filter."""
        due = max(0, resampled(self._took_bytes, self._rate) - self._gave_bytes)
        return self._given(b"", last=True)[:due].ljust(due, b"\0")

    def _given(self, pcm: bytes, *, last: bool) -> bytes:
        np = self._np
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        made = np.rint(self._stream.resample_chunk(samples, last=last))
        given: bytes = np.clip(made, -32768, 32767).astype("<i2").tobytes()
        return given
