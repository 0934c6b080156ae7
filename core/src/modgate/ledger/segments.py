"""The segment files of a directory: found, read, and brought in order after a crash."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
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
from modgate.ledger.records import Opened

log = logging.getLogger(__name__)

NAME = re.compile(r"segment-(\d{8})\.ledger")
FIRST_CHAIN = bytes(CHAIN_BYTES)


def segment_paths(directory: Path) -> list[Path]:
    """The segments in order."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))


def frames_of(path: Path, key: Secret | None) -> Iterator[tuple[SegmentHeader, Frame]]:
    """One segment's frames; Torn or Tampered as `read_frames`."""
    data = path.read_bytes()
    header, offset = read_head(data)
    for frame in read_frames(data, offset, key, header.last):
        yield header, frame


@dataclass(slots=True)
class Recovered:
    """What a directory held: where to go on, and the requests that were never ended."""

    last: bytes = FIRST_CHAIN
    number: int = 0
    segments: int = 0
    frames: int = 0
    cut_bytes: int = 0
    open: dict[str, tuple[Opened, dict[str, int] | None]] = field(default_factory=dict)

    def saw(self, frame: Frame) -> None:
        """Fold one frame."""
        self.last = frame.chain
        self.frames += 1
        if frame.kind is Kind.END:
            self.open.pop(str(frame.record()["id"]), None)
        elif frame.kind is Kind.OPEN:
            said = msgspec.msgpack.decode(frame.payload, type=Opened)
            first = self.open.get(said.id)
            if first is None and said.touched is None:
                self.open[said.id] = (said, None)
            elif first is not None and said.touched is not None:
                self.open[said.id] = (first[0], dict(said.touched))


def recover(directory: Path, key: Secret) -> Recovered:
    """Read all segments; a torn tail of the newest is cut off, a broken chain raises Tampered."""
    found = Recovered()
    paths = segment_paths(directory)
    for path in paths:
        match = NAME.fullmatch(path.name)
        found.number = int(match[1]) if match else found.number
        try:
            _fold(path, key, found)
        except Torn as torn:
            if path != paths[-1]:
                raise Tampered(torn.offset) from torn
            size = path.stat().st_size
            found.cut_bytes = size - torn.offset
            if torn.offset == 0:  # not even its header: left empty it would be torn for ever
                path.unlink()
            else:
                os.truncate(path, torn.offset)
            log.error("ledger tail cut", extra={"file": path.name, "bytes": found.cut_bytes})
    return found


def _fold(path: Path, key: Secret, found: Recovered) -> None:
    data = path.read_bytes()
    header, offset = read_head(data)
    if found.segments and header.last != found.last:
        raise Tampered(0)
    found.segments += 1
    found.last = header.last
    for frame in read_frames(data, offset, key, header.last):
        found.saw(frame)
