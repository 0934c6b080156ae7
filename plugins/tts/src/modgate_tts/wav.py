"""WAV files: writing a header, and reading a file while it comes.

Source: wire.md 5 and Appendix B3.
"""

from __future__ import annotations

import struct

from modgate.plugin import BadReply

RATE = 24_000  # hertz, of all that goes out
RATES = (8_000, 192_000)  # lowest and highest that speech is made at: at 1 Hz a word lasts hours
SAMPLE_BYTES = 2
UNKNOWN = 0xFFFFFFFF  # the length of a file that is not known yet
_HEADER_BYTES = 44
_OPEN_END = 0x7FFFF000  # streaming writers put -1, or the most that fits, for a length to come
_HEAD_AT_MOST = 1 << 16
_PCM, _EXTENSIBLE = 1, 0xFFFE


def wav_header(data_bytes: int | None = None) -> bytes:
    """The header of a WAV file of 24 kHz mono 16-bit samples.

    `data_bytes`: how many bytes of samples follow.  None, or more than 32 bits hold: left open.
    """
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * SAMPLE_BYTES, SAMPLE_BYTES, 16)
    if data_bytes is None or data_bytes > UNKNOWN - 36:
        whole, inner = UNKNOWN, UNKNOWN - 36
    else:
        whole, inner = data_bytes + _HEADER_BYTES - 8, data_bytes
    riff = b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt " + form
    return riff + b"data" + struct.pack("<I", inner)


class WavReader:
    """Reads one WAV file that comes in pieces of any size.

    BadReply when it is not a mono file of 16-bit samples.

    `rate`: in hertz; 0 until the header has come.  `data_bytes`: how many bytes of samples the
    header promises; None: it does not say.
    """

    def __init__(self) -> None:
        self.rate = 0
        self.data_bytes: int | None = None
        self._head = b""
        self._left: int | None = None

    def take(self, data: bytes) -> bytes:
        """Take more of the file; the answer is the samples in it, without what follows them."""
        if not self.rate:
            self._head += data
            at = self._samples_at()
            if at is None:
                return b""
            data, self._head = self._head[at:], b""
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    @property
    def whole(self) -> bool:
        """Whether all samples that were promised have come."""
        return bool(self.rate) and not self._left

    def _samples_at(self) -> int | None:
        """Where the samples begin; None while more of the header must come."""
        head, at, rate = self._head, 12, 0
        if head[:4] != b"RIFF"[: len(head)] or head[8:12] != b"WAVE"[: max(0, len(head) - 8)]:
            raise BadReply("the engine's reply is no WAV file")
        while at + 8 <= len(head):
            name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            at += 8
            if name == b"data":
                return self._opened(rate, size, at)
            if name == b"fmt " and at + 16 <= len(head):
                rate = _rate(head[at : at + 16])
            at += size + size % 2
        if len(head) > _HEAD_AT_MOST:
            raise BadReply("the engine's WAV file has no samples in its first bytes")
        return None

    def _opened(self, rate: int, size: int, at: int) -> int:
        if not rate:
            raise BadReply("the engine's WAV file has no format in front of its samples")
        self.rate = rate
        if 0 < size < _OPEN_END:
            self.data_bytes = self._left = size
        return at


def _rate(form: bytes) -> int:
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form)
    if kind not in (_PCM, _EXTENSIBLE) or channels != 1 or bits != 16:
        raise BadReply("the engine's WAV file is not 16 bit mono PCM")
    return checked_rate(int(rate))


def checked_rate(rate: int) -> int:
    """A rate that an engine says, in hertz.  BadReply for one that no speech has.

    By it the length of the speech is known, and so what is billed.
    """
    least, most = RATES
    if not least <= rate <= most:
        raise BadReply(f"the engine says that its speech has {rate} samples a second")
    return rate
