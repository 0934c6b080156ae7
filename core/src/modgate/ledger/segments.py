"""The segment files of a directory: found, read, and brought in order after a crash.

Each worker of a gateway has a chain of its own: `segment-00000001.ledger`, or with a worker's name
`segment-w2-00000001.ledger`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.ledger.frames import (
    CHAIN_BYTES,
    Frame,
    Kind,
    SegmentHeader,
    Tampered,
    Torn,
    read_frames,
    read_head,
)
from modgate.ledger.records import Noted, Opened

log = logging.getLogger(__name__)

NAME = re.compile(r"segment-(?:([a-z0-9]+)-)?(\d{8})\.ledger")
FIRST_CHAIN = bytes(CHAIN_BYTES)
HEAD_AT_MOST = 4096


def segment_name(worker: str, number: int) -> str:
    """A segment's file name."""
    return f"segment-{worker}-{number:08}.ledger" if worker else f"segment-{number:08}.ledger"


def segments(directory: Path, worker: str = "") -> dict[int, Path]:
    """A worker's segments by number, in order."""
    found = {}
    for path in directory.iterdir() if directory.is_dir() else ():
        match = NAME.fullmatch(path.name)
        if match is not None and (match[1] or "") == worker:
            found[int(match[2])] = path
    return dict(sorted(found.items()))


def workers(directory: Path) -> list[str]:
    """The workers that have written here; the one without a name is ''."""
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return sorted({match[1] or "" for name in names if (match := NAME.fullmatch(name))})


def head_of(path: Path) -> SegmentHeader:
    """A segment's header; Torn or Tampered as `read_head`."""
    with path.open("rb") as file:
        return read_head(file.read(HEAD_AT_MOST))[0]


def writers(directory: Path) -> set[str]:
    """Every writer that a segment here names."""
    found = set()
    for worker in workers(directory):
        for path in segments(directory, worker).values():
            with suppress(Torn, Tampered, FileNotFoundError):
                found.add(head_of(path).writer)
    return found


def frames_of(path: Path, key: Secret | None) -> Iterator[tuple[SegmentHeader, Frame]]:
    """One segment's frames; Torn or Tampered as `read_frames`."""
    data = path.read_bytes()
    header, offset = read_head(data)
    for frame in read_frames(data, offset, key, header.last):
        yield header, frame


class _Said(msgspec.Struct, frozen=True):
    """As much of an `end` as recovery needs."""

    id: str
    wall: float = 0.0
    duration_s: float = 0.0


@dataclass(slots=True)
class Recovered:
    """What a directory held: where to go on, and the requests that were never ended.

    `counts`: frames by segment.  `closed`: the writer before left in order.  `until`: the wall time
    of the last frame.  `writer`, `boot`: of the newest segment.  `missed`: as the newest note says.
    """

    last: bytes = FIRST_CHAIN
    number: int = 0
    segments: int = 0
    frames: int = 0
    cut_bytes: int = 0
    missed: int = 0
    closed: bool = True
    until: float = 0.0
    writer: str = ""
    boot: str = ""
    counts: dict[int, int] = field(default_factory=dict)
    open: dict[str, tuple[Opened, dict[str, int] | None]] = field(default_factory=dict)

    def began(self, header: SegmentHeader) -> None:
        """A segment begins."""
        self.segments += 1
        self.last = header.last
        self.writer, self.boot = header.writer, header.boot
        self.counts[self.number] = 0
        self.closed = False

    def saw(self, frame: Frame) -> None:
        """Fold one frame."""
        self.last = frame.chain
        self.frames += 1
        self.counts[self.number] += 1
        self.closed = False
        if frame.kind is Kind.END:
            ended = msgspec.msgpack.decode(frame.payload, type=_Said)
            self.until = max(self.until, ended.wall + ended.duration_s)
            self.open.pop(ended.id, None)
        elif frame.kind is Kind.OPEN:
            self._opened(msgspec.msgpack.decode(frame.payload, type=Opened))
        elif frame.kind is Kind.ANCHOR:
            noted = note_of(frame)
            self.closed = noted is not None and noted.what == "closed"
            self.missed = max(self.missed, noted.missed if noted is not None else 0)

    def _opened(self, said: Opened) -> None:
        self.until = max(self.until, said.wall)
        first = self.open.get(said.id)
        if said.touched is None:  # another one of a request: it is served elsewhere now
            same = first is not None and first[0].model == said.model
            self.open[said.id] = (said, first[1] if first is not None and same else None)
        elif first is not None:
            self.open[said.id] = (first[0], dict(said.touched))


def note_of(frame: Frame) -> Noted | None:
    """What an anchor frame says; None for one of a version to come."""
    try:
        return msgspec.msgpack.decode(frame.payload, type=Noted)
    except msgspec.DecodeError:
        return None


def recover(directory: Path, key: Secret, worker: str = "") -> Recovered:
    """Read all segments; a torn tail of the newest is cut off, a broken chain raises Tampered."""
    found = Recovered()
    paths = segments(directory, worker)
    for number, path in paths.items():
        found.number = number
        try:
            _fold(path, key, found)
        except Torn as torn:
            if number != max(paths):
                raise Tampered(torn.offset, path.name) from torn
            size = path.stat().st_size
            found.cut_bytes = size - torn.offset
            found.closed = False
            if torn.offset == 0:  # not even its header: left empty it would be torn for ever
                path.unlink()
            else:
                os.truncate(path, torn.offset)
            log.error("ledger tail cut", extra={"file": path.name, "bytes": found.cut_bytes})
        except Tampered as error:
            raise Tampered(error.offset, path.name) from None
    return found


def _fold(path: Path, key: Secret, found: Recovered) -> None:
    data = path.read_bytes()
    header, offset = read_head(data)
    if found.segments and header.last != found.last:
        raise Tampered(0)
    found.began(header)
    for frame in read_frames(data, offset, key, header.last):
        found.saw(frame)
