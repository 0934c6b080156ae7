"""Finding out whether a file holds more than one recording.

Such files were joined byte by byte, as `cat` does it, or come from broadcasters' servers that put
advertisements in, or are chained Ogg streams.  libsndfile would stop where the first recording
ends.  This runs in decoder processes, so it imports no part of the gateway.

Source: RFC 3533 sections 4 (streams in a chain and side by side) and 6 (page header), and the Xing
header of MP3: flags, then the number of frames and of bytes, its own frame and no tag counted.
"""

from __future__ import annotations

import io
from typing import BinaryIO

PAGE, FIRST_PAGE = b"OggS", b"OggS\0\2"  # of a stream: version 0, flag 2
PAGE_HEAD, PAGE_TABLE = 27, 26  # bytes of a page's head, and where it says how many sizes follow
SCAN_BYTES = 1 << 20
ID3, ID3_HEAD, ID3V1, ID3V1_BYTES = b"ID3", 10, b"TAG", 128
XING, HAS_FRAMES, HAS_BYTES = (b"Xing", b"Info"), 1, 2
XING_PLACES = (13, 21, 36)  # behind the frame's header and the side information of 1 or 2 channels
FIRST_BYTES = 64
FRAME_AT_MOST = 2881  # bytes: some encoders do not count the frame that holds the header


def is_joined(file: BinaryIO) -> bool:
    """Whether another recording follows the first one.  The file's position is moved."""
    file.seek(0)
    if file.read(len(PAGE)) == PAGE:
        return _is_chained(file)
    end = _mp3_end(file)
    return end is not None and _begins(file, end)


def _is_chained(file: BinaryIO) -> bool:
    """Whether another stream begins after those that lie side by side from the start."""
    start = 0
    file.seek(start)
    while (head := file.read(PAGE_HEAD)).startswith(FIRST_PAGE) and len(head) == PAGE_HEAD:
        sizes = file.read(head[PAGE_TABLE])
        start += PAGE_HEAD + len(sizes) + sum(sizes)
        file.seek(start)
    kept = b""
    while block := file.read(SCAN_BYTES):
        if FIRST_PAGE in kept + block:
            return True
        kept = block[-len(FIRST_PAGE) :]
    return False


def _mp3_end(file: BinaryIO) -> int | None:
    """Where the frames of an MP3 end by its own word; None when it does not say."""
    start = behind_tag(file, 0)
    file.seek(start)
    frame = file.read(FIRST_BYTES)
    for place in XING_PLACES:
        if frame[place : place + 4] in XING:
            flags, *counts = (
                int.from_bytes(frame[at : at + 4]) for at in range(place + 4, place + 16, 4)
            )
            return start + counts[flags & HAS_FRAMES] if flags & HAS_BYTES else None
    return None


def behind_tag(file: BinaryIO, start: int) -> int:
    """Where an ID3 tag at `start` ends; `start` when there is none."""
    file.seek(start)
    head = file.read(ID3_HEAD)
    if len(head) < ID3_HEAD or not head.startswith(ID3):
        return start
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte & 0x7F
    return start + ID3_HEAD + size


def _begins(file: BinaryIO, start: int) -> bool:
    """Whether frames of an MP3 begin here, perhaps after tags."""
    if file.seek(0, io.SEEK_END) - start <= FRAME_AT_MOST:
        return False
    file.seek(start)
    if file.read(len(ID3V1)) == ID3V1:
        start += ID3V1_BYTES
    file.seek(behind_tag(file, start))
    front = file.read(2)
    return len(front) == 2 and front[0] == 0xFF and front[1] >= 0xE0
