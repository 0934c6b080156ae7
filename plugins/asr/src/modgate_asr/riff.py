"""How much sound is in a WAV, RF64 or AIFF file, and how much of it its header leaves out.

libsndfile and FFmpeg believe a header that says less than what follows: a recorder that broke off
wrote it early, or a program counted samples for bytes.  Behind the sound there may be chunks, and
tags that are none.  This runs in decoder processes, so it imports no part of the gateway.

Source: Microsoft and IBM, Multimedia Programming Interface 1.0: a chunk has a name of four
characters, says its length, and is padded to an even one.  A length of 0 is one that was not known.
EBU Tech 3306: the chunk `ds64` of an RF64 says the length of its sound.  Apple, AIFF 1.3: numbers
are big-endian, and eight bytes stand before the sound in its chunk.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from modgate_asr.joined import ID3, ID3V1, SCAN_BYTES
from modgate_asr.sections import CHUNK_HEAD, RIFF, WAVE

FIRST_CHUNK = 12
AIFF_LEAD = 8  # bytes: where the sound begins in its chunk, and in what blocks it is
LONG_SIZES, LONG_SIZES_BYTES = b"ds64", 16
CHUNKS_AT_MOST = 10_000  # that are looked at; writers make a handful
NO_SOUND = (ID3V1, ID3, b"APETAGEX", b"LYRICSBEGIN", b"LIST", b"id3 ")  # whatever length they say
# Behind the sound, that nobody misses: less than what a disk's block is filled with.
STRAY_BYTES = 512
# By so many bytes a torn chunk says more than is left; what sound looks like says far more, mostly.
TORN_AT_MOST = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Bytes of sound that a decoder reads, and bytes behind them that it passes over.

    What is a chunk, a tag or nothing but zeros is not `left_out`.
    """

    sound: int
    left_out: int = 0


def extent_of(file: BinaryIO) -> Extent | None:
    """The sound of a WAV, RF64 or AIFF; None for other files.  The file's position is moved."""
    file.seek(0)
    head = file.read(FIRST_CHUNK)
    chunks = _KINDS.get((head[:4], head[8:]))
    return None if chunks is None else chunks(file).extent()


class _Chunks:
    """The chunks of a WAV.  `sound`: the name of the one that the sound is in."""

    sound = b"data"
    little = True

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)

    def extent(self) -> Extent | None:
        """The sound; None where no chunk has it."""
        at = FIRST_CHUNK
        for _ in range(CHUNKS_AT_MOST):
            name, length = self._chunk(at)
            if name == self.sound:
                return self._measured(at + CHUNK_HEAD, length)
            self._pass(name, at + CHUNK_HEAD)
            at += CHUNK_HEAD + length + length % 2
            if at >= self._size:
                break
        return None

    def _pass(self, name: bytes, at: int) -> None:
        """A chunk before the sound, whose content begins at a place."""

    def _measured(self, start: int, said: int) -> Extent:
        there = max(0, self._size - start)  # the chunk's own head may be cut
        if said == 0:
            return Extent(sound=self._unnamed(start))
        if said >= there:
            return Extent(sound=there)
        end = start + said
        ends = {end, end + said % 2}  # some writers leave out the byte that pads
        return Extent(sound=said, left_out=min(map(self._left_out, ends)))

    def _left_out(self, at: int) -> int:
        """How many bytes from here on are no chunk, no tag, and not zero."""
        rest = self._unnamed(at)
        self._file.seek(self._size - rest)
        while block := self._file.read(SCAN_BYTES):
            if block.strip(b"\0"):
                return rest
        return 0

    def _unnamed(self, at: int) -> int:
        """How many bytes from here on are no chunk and no tag."""
        for _ in range(CHUNKS_AT_MOST):
            name, length = self._chunk(at)
            end = at + CHUNK_HEAD + length
            if not _is_name(name) or name == self.sound or end > self._size + TORN_AT_MOST:
                break
            padded = length % 2 and not _is_name(self._chunk(end)[0])
            at = end + 1 if padded else end
        self._file.seek(at)
        return 0 if self._file.read(FIRST_CHUNK).startswith(NO_SOUND) else max(0, self._size - at)

    def _chunk(self, at: int) -> tuple[bytes, int]:
        """The name of a chunk and its length."""
        self._file.seek(at)
        head = self._file.read(CHUNK_HEAD)
        return head[:4], int.from_bytes(head[4:], "little" if self.little else "big")


class _LongChunks(_Chunks):
    """The chunks of an RF64, in which the length of the sound stands elsewhere."""

    _said: int | None = None

    def _pass(self, name: bytes, at: int) -> None:
        if name == LONG_SIZES:
            self._file.seek(at)
            self._said = int.from_bytes(self._file.read(LONG_SIZES_BYTES)[8:], "little")

    def _measured(self, start: int, said: int) -> Extent:
        return super()._measured(start, said if self._said is None else self._said)


class _AiffChunks(_Chunks):
    """The chunks of an AIFF."""

    sound = b"SSND"
    little = False

    def _measured(self, start: int, said: int) -> Extent:
        return super()._measured(start + AIFF_LEAD, max(0, said - AIFF_LEAD))


_KINDS: dict[tuple[bytes, bytes], type[_Chunks]] = {
    (RIFF, WAVE): _Chunks,
    (b"RF64", WAVE): _LongChunks,
    (b"FORM", b"AIFF"): _AiffChunks,
    (b"FORM", b"AIFC"): _AiffChunks,
}


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and name.isascii() and name.decode().isprintable()
