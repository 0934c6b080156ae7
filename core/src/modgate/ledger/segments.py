"""The segment files of a directory: which there are, and what each begins with and holds.

A worker is whoever writes a chain: the gateway, which has no name here (`segment-00000001.ledger`),
or a command beside it (`segment-rerate-00000001.ledger`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.ledger.frames import (
    CHAIN_BYTES,
    Frame,
    SegmentHeader,
    Tampered,
    Torn,
    read_frames,
    read_head,
)
from modgate.ledger.records import Noted, read_records

NAME = re.compile(r"segment-(?:([a-z0-9]+)-)?(\d{8})\.ledger")
FIRST_CHAIN = bytes(CHAIN_BYTES)  # what the first frame of a chain follows
HEAD_AT_MOST = 4096  # bytes that hold any segment's header
FIRST_AT_MOST = 1 << 16  # bytes that hold nearly any segment's first record, too


def segment_name(worker: str, number: int) -> str:
    """A segment's file name."""
    return f"segment-{worker}-{number:08}.ledger" if worker else f"segment-{number:08}.ledger"


def segments(directory: Path, worker: str = "") -> dict[int, Path]:
    """The paths of a worker's segments by number, the oldest first; none without a directory."""
    found = {}
    for path in directory.iterdir() if directory.is_dir() else ():
        match = NAME.fullmatch(path.name)
        if match is not None and (match[1] or "") == worker:
            found[int(match[2])] = path
    return dict(sorted(found.items()))


def workers(directory: Path) -> list[str]:
    """The names of all workers that have written here, sorted; '' is the one without a name."""
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return sorted({match[1] or "" for name in names if (match := NAME.fullmatch(name))})


def head_of(path: Path) -> SegmentHeader:
    """Read a segment's header.  Torn or Tampered as `read_head` says."""
    with path.open("rb") as file:
        return read_head(file.read(HEAD_AT_MOST))[0]


class _Moment(msgspec.Struct, frozen=True):
    """What all records have: when it was, and of a request's end how long before that it began."""

    wall: float
    duration_s: float = 0.0


def begun_at(path: Path) -> float | None:
    """The time of day of a segment's first record; None where there is none that can be read."""
    with path.open("rb") as file:
        data = file.read(FIRST_AT_MOST)
    try:
        header, offset = read_head(data)
        for frame in read_frames(data, offset, None, header.last):
            moment = msgspec.msgpack.decode(frame.payload, type=_Moment)
            return moment.wall + moment.duration_s
    except (Torn, Tampered, msgspec.DecodeError):
        pass
    return None


def writers(directory: Path) -> set[str]:
    """The ids of all writers that a segment here names; what cannot be read is passed over."""
    found = set()
    for worker in workers(directory):
        for path in segments(directory, worker).values():
            with suppress(Torn, Tampered, FileNotFoundError):
                found.add(head_of(path).writer)
    return found


def frames_of(path: Path, key: Secret | None) -> Iterator[tuple[SegmentHeader, Frame]]:
    """One segment's frames, each with its header.  Torn or Tampered as `read_records` says."""
    data = path.read_bytes()
    header, offset = read_head(data)
    for frame in read_records(data, offset, key, header.last):
        yield header, frame


def note_of(frame: Frame) -> Noted | None:
    """What an anchor frame says; None when it is of a later version, which we cannot read."""
    try:
        return msgspec.msgpack.decode(frame.payload, type=Noted)
    except msgspec.DecodeError:
        return None
