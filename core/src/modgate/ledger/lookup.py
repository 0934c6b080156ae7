"""One request's row by its id, without reading what lies before it: for the few who ask.

The bytes of the id are looked for, newest segment first, and a frame is taken for one only when its
checksum says so.  Reads are short, so that the interpreter lock is given away between them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from modgate.ledger.frames import FRAME_HEAD, PAYLOAD_AT_MOST, VERSION, Kind
from modgate.ledger.records import Ended
from modgate.ledger.segments import segments, workers

READ_BYTES = 1 << 20
FRONTS = (4, 6)  # of a payload before the id's key: a map's head (1 or 3 bytes), then `v` and 1
_FRAME = struct.Struct("<BBII16s")


def newest_first(directory: Path) -> list[Path]:
    """All segments of all workers; those that were written last come first."""
    paths = [path for worker in workers(directory) for path in segments(directory, worker).values()]
    return sorted(paths, key=_changed, reverse=True)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # dropped meanwhile


def find(directory: Path, request_id: str, look: Callable[[], None]) -> Ended | None:
    """The end of a request, or None; `look` is called between reads, and may raise to give up."""
    needle = b"\xa2id" + msgspec.msgpack.encode(request_id)
    for path in newest_first(directory):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # dropped meanwhile
        try:
            for at in _places(fd, needle, look):
                row = _row(fd, at)
                if row is not None and row.id == request_id:
                    return row
        finally:
            os.close(fd)
    return None


def _places(fd: int, needle: bytes, look: Callable[[], None]) -> Iterator[int]:
    """Where the bytes are; a piece overlaps the next by what could lie across."""
    begin, overlap = 0, len(needle) - 1
    while len(data := os.pread(fd, READ_BYTES + overlap, begin)) >= len(needle):
        look()
        at = data.find(needle)
        while at >= 0:
            yield begin + at
            at = data.find(needle, at + 1)
        begin += READ_BYTES


def _row(fd: int, at: int) -> Ended | None:
    """The `end` whose id is here, if this is one."""
    for front in FRONTS:
        begin = at - front - FRAME_HEAD
        head = os.pread(fd, FRAME_HEAD, begin) if begin >= 0 else b""
        if len(head) < FRAME_HEAD:
            continue
        version, kind, length, crc, _ = _FRAME.unpack(head)
        if (version, kind) != (VERSION, Kind.END) or length > PAYLOAD_AT_MOST:
            continue
        payload = os.pread(fd, length, begin + FRAME_HEAD)
        if len(payload) == length and crc32(payload) == crc:
            return msgspec.msgpack.decode(payload, type=Ended)
    return None
