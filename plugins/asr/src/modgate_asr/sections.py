"""Taking apart FLAC and WAV files that were joined byte by byte.

Each recording is decoded by itself, at its own rate, by libsndfile.  Given the whole file, FFmpeg
would lose frames where one FLAC stream follows another, and libsndfile would stop where the first
one ends.  This runs in decoder processes, so it imports no part of the gateway.

Source: RFC 9639 sections 6 (the marker, and STREAMINFO first, of 34 bytes) and 8.1 (the head of a
metadata block); RIFF: a chunk says its length, and is padded to an even one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, Protocol

from modgate_asr.joined import SCAN_BYTES, behind_tag

FLAC, FLAC_STARTS = b"fLaC", (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
LAST_BLOCK = 0x80
BLOCKS_AT_MOST = 10_000  # of one stream's metadata; an encoder writes a handful
LOOK_BYTES = 1 << 12  # read at first where the next stream may begin at once
RECORDINGS_AT_MOST = 10_000  # of one file
RIFF, WAVE, CHUNK_HEAD = b"RIFF", b"WAVE", 8


class Room(Protocol):
    """What a file is read into: `collections.abc.Buffer`, which Python 3.11 has no name for."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Its bytes."""


class Section(io.RawIOBase):
    """A part of a file, which can be read as if it were a file."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, end - start, 0

    def readable(self) -> bool:
        """Yes; it cannot be written to."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as of any file."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: Room) -> int:
        """Read up to the part's end."""
        into = memoryview(buffer)
        self._file.seek(self._start + self._at)
        found = self._file.read(max(0, min(len(into), self._size - self._at)))
        into[: len(found)] = found
        self._at += len(found)
        return len(found)


class TooMany(Exception):
    """A file has more recordings than `RECORDINGS_AT_MOST`."""


def sections(file: BinaryIO) -> Iterator[BinaryIO]:
    """Each recording of a file, to be read before the next one; or the file itself, if it is one.

    TooMany for a file of more than ten thousand, because each needs a decoder of its own.
    """
    size = file.seek(0, io.SEEK_END)
    starts = [*islice(_starts(file, size), RECORDINGS_AT_MOST + 1)]
    if len(starts) > RECORDINGS_AT_MOST:
        raise TooMany
    if len(starts) < 2:
        yield file
        return
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        yield io.BufferedReader(Section(file, start, end))


def _starts(file: BinaryIO, size: int) -> Iterator[int]:
    start = behind_tag(file, 0)
    file.seek(start)
    if file.read(len(FLAC)) == FLAC:
        yield 0
        yield from _later_flacs(file, start)
    elif is_wav(file, 0):
        yield from _wavs(file, size)


def _later_flacs(file: BinaryIO, start: int | None) -> Iterator[int]:
    """Where the FLAC streams begin that follow the one at `start`."""
    while start is not None:
        start = _next_flac(file, _behind_metadata(file, start))
        if start is not None:
            yield start


def _behind_metadata(file: BinaryIO, start: int) -> int:
    """Where the sound of a FLAC stream begins; its metadata may hold anything, even a FLAC."""
    start += len(FLAC)
    for _ in range(BLOCKS_AT_MOST):
        file.seek(start)
        head = file.read(4)
        start += len(head) + int.from_bytes(head[1:])
        if len(head) < 4 or head[0] & LAST_BLOCK:
            break
    return start


def _next_flac(file: BinaryIO, start: int) -> int | None:
    """Where the next stream begins; what is read grows with the distance to it."""
    file.seek(start)
    kept, longest, step = b"", len(FLAC_STARTS[0]) - 1, LOOK_BYTES
    while block := file.read(step):
        step = min(2 * step, SCAN_BYTES)
        held = kept + block
        found = [at for mark in FLAC_STARTS if (at := held.find(mark)) >= 0]
        if found:
            return start + min(found)
        kept = held[-longest:]
        start += len(held) - len(kept)
    return None


def _wavs(file: BinaryIO, size: int) -> Iterator[int]:
    """Where WAV files begin that follow one another without a gap."""
    start = 0
    while start < size and is_wav(file, start):
        yield start
        file.seek(start + len(RIFF))
        length = int.from_bytes(file.read(4), "little")
        start += CHUNK_HEAD + length + length % 2


def is_wav(file: BinaryIO, start: int) -> bool:
    """Whether a WAV file begins here."""
    file.seek(start)
    head = file.read(12)
    return head[:4] == RIFF and head[8:] == WAVE
