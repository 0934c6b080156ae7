"""Finding one request's row by its id without decoding all rows, for the few who ask.

The segments are searched for the bytes of the id, the newest first.  Where they are found, the
frame around them is taken for one only when its checksum agrees.  Reads are short, so that the
interpreter lock is given away between them.
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
# Where the key `id` may stand in the payload of an `end`: behind the head of a msgpack map, of 1
# byte (up to 15 members) or 3, and behind the member `v` with its value, 3 bytes together.
FRONTS = (4, 6)
SLACK_S = 60.0  # that a file's time and a row's may be apart
_FRAME = struct.Struct("<BBII16s")


def newest_first(directory: Path) -> list[Path]:
    """The paths of all segments of all workers, the last written first."""
    paths = [path for worker in workers(directory) for path in segments(directory, worker).values()]
    return sorted(paths, key=_changed, reverse=True)


def written_at(directory: Path, wall: float) -> list[Path]:
    """Of each worker the segments, mostly one, that were written at a time of day in seconds."""
    found = []
    for worker in workers(directory):
        for path in segments(directory, worker).values():
            apart_s = _changed(path) / 1e9 - wall
            if apart_s >= -SLACK_S:
                found.append(path)
            if apart_s > SLACK_S:
                break
    return found


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # dropped meanwhile


def find(
    directory: Path, request_id: str, look: Callable[[], None], *, ended: float | None = None
) -> Ended | None:
    """The end of a request; None when it is not here.

    `look`: is called before each read of `READ_BYTES`, and may raise to give up.  `ended`: when it
    ended, in seconds since the epoch; only what was written then is searched.
    """
    needle = b"\xa2id" + msgspec.msgpack.encode(request_id)
    paths = newest_first(directory) if ended is None else written_at(directory, ended)
    for path in paths:
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
    """The offsets at which the needle is; reads overlap by as much of it as could lie across."""
    begin, overlap = 0, len(needle) - 1
    while len(data := os.pread(fd, READ_BYTES + overlap, begin)) >= len(needle):
        look()
        at = data.find(needle)
        while at >= 0:
            yield begin + at
            at = data.find(needle, at + 1)
        begin += READ_BYTES


def _row(fd: int, at: int) -> Ended | None:
    """The `end` whose key `id` is at this offset; None when that is no such frame."""
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
