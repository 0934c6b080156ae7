"""How much sound is in a WAV file, and how much of it its header leaves out.

libsndfile and FFmpeg believe a header that says less than what follows: a recorder that broke off
wrote it early, or a program counted samples for bytes.  Behind the sound there may be chunks, and
tags that are none.  This runs in decoder processes, so it imports no part of the gateway.

Source: Microsoft and IBM, Multimedia Programming Interface 1.0: a chunk has a name of four
characters, says its length, and is padded to an even one.  A length of 0 is one that was not known.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from modgate_asr.joined import ID3, ID3V1, SCAN_BYTES
from modgate_asr.sections import CHUNK_HEAD, is_wav

DATA, FIRST_CHUNK = b"data", 12
CHUNKS_AT_MOST = 10_000  # that are looked at; writers make a handful
NO_SOUND = (ID3V1, ID3, b"APETAGEX", b"LYRICSBEGIN", b"LIST", b"id3 ")  # whatever length they say
# Behind the sound, that nobody misses: less than what a disk's block is filled with.
STRAY_BYTES = 512
# By so many bytes a torn chunk says more than is left; what sound looks like says far more, mostly.
TORN_AT_MOST = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Wav:
    """A WAV file: bytes of sound that a decoder reads, and bytes behind them that it passes over.

    What is a chunk, a tag or nothing but zeros is not `left_out`.
    """

    sound: int
    left_out: int = 0


def wav_in(file: BinaryIO) -> Wav | None:
    """What a file is as a WAV; None for one that is none.  The file's position is moved."""
    if not is_wav(file, 0):
        return None
    size = file.seek(0, io.SEEK_END)
    at = FIRST_CHUNK
    for _ in range(CHUNKS_AT_MOST):
        name, length = _chunk(file, at)
        if name == DATA:
            return _measured(file, at + CHUNK_HEAD, length, size)
        at += CHUNK_HEAD + length + length % 2
        if at >= size:
            break
    return None


def _measured(file: BinaryIO, start: int, said: int, size: int) -> Wav:
    there = max(0, size - start)  # the chunk's own head may be cut
    if said == 0:
        return Wav(sound=_unnamed(file, start, size))
    if said >= there:
        return Wav(sound=there)
    end = start + said
    ends = {end, end + said % 2}  # some writers leave out the byte that pads
    return Wav(sound=said, left_out=min(_left_out(file, each, size) for each in ends))


def _left_out(file: BinaryIO, at: int, size: int) -> int:
    """How many bytes from here on are no chunk, no tag, and not zero."""
    rest = _unnamed(file, at, size)
    file.seek(size - rest)
    while block := file.read(SCAN_BYTES):
        if block.strip(b"\0"):
            return rest
    return 0


def _unnamed(file: BinaryIO, at: int, size: int) -> int:
    """How many bytes from here on are no chunk and no tag."""
    for _ in range(CHUNKS_AT_MOST):
        name, length = _chunk(file, at)
        end = at + CHUNK_HEAD + length
        if not _is_name(name) or name == DATA or end > size + TORN_AT_MOST:
            break
        padded = length % 2 and not _is_name(_chunk(file, end)[0])
        at = end + 1 if padded else end
    file.seek(at)
    return 0 if file.read(FIRST_CHUNK).startswith(NO_SOUND) else max(0, size - at)


def _is_name(name: bytes) -> bool:
    return len(name) == len(DATA) and name.isascii() and name.decode().isprintable()


def _chunk(file: BinaryIO, at: int) -> tuple[bytes, int]:
    """The name of a chunk and its length."""
    file.seek(at)
    head = file.read(CHUNK_HEAD)
    return head[:4], int.from_bytes(head[4:], "little")
