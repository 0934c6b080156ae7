"""Starting after whoever wrote before: where a chain goes on, and what a crash left open."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.ledger.frames import (
    Frame,
    Kind,
    SegmentHeader,
    Tampered,
    Torn,
    read_head,
)
from modgate.ledger.records import Ended, Noted, Opened, crashed, read_records
from modgate.ledger.segments import FIRST_CHAIN, note_of, segments

log = logging.getLogger(__name__)


class _End(msgspec.Struct, frozen=True):
    """As much of an `end` record as recovery needs."""

    id: str
    wall: float = 0.0
    duration_s: float = 0.0


@dataclass(slots=True)
class Recovered:
    """What a directory held when its chain was read from the first frame to the last.

    `last`: the chain value of the newest frame, which the next one follows.
    `number`: of the newest segment; 0 when there was none.
    `cut_bytes`: how much of a torn tail was cut off.
    `missed`: frames that were ever dropped before every sink had them, as the newest note says.
    `dropped`: the segments that the notes call dropped; `told`: those that they call missing.
    `closed`: whether the writer before stopped in order.
    `until`: the wall time of the newest frame that has one.
    `writer`, `boot`: as the newest segment's header has them.
    `counts`: frames by segment number.
    `open`: by id the requests that were never ended: how they were opened, and the units that the
    last touch told of; None when there was no touch since.
    """

    last: bytes = FIRST_CHAIN
    number: int = 0
    segments: int = 0
    cut_bytes: int = 0
    missed: int = 0
    dropped: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    closed: bool = True
    until: float = 0.0
    writer: str = ""
    boot: str = ""
    counts: dict[int, int] = field(default_factory=dict)
    open: dict[str, tuple[Opened, dict[str, int] | None]] = field(default_factory=dict)

    def began(self, header: SegmentHeader) -> None:
        """A segment begins, the one of `number`."""
        self.segments += 1
        self.last = header.last
        self.writer, self.boot = header.writer, header.boot
        self.counts[self.number] = 0
        self.closed = False

    def saw(self, frame: Frame) -> None:
        """The next frame of that segment."""
        self.last = frame.chain
        self.counts[self.number] += 1
        self.closed = False
        if frame.kind is Kind.END:
            end = msgspec.msgpack.decode(frame.payload, type=_End)
            self.until = max(self.until, end.wall + end.duration_s)
            self.open.pop(end.id, None)
        elif frame.kind is Kind.OPEN:
            self._saw_open(msgspec.msgpack.decode(frame.payload, type=Opened))
        elif frame.kind is Kind.ANCHOR:
            noted = note_of(frame)
            self.closed = noted is not None and noted.what == "closed"
            self.missed = max(self.missed, noted.missed if noted is not None else 0)
            if noted is not None and noted.what == "dropped" and noted.last:
                self.dropped.add(noted.segment)
            elif noted is not None and noted.what == "missing":
                self.told.add(noted.segment)

    def _saw_open(self, record: Opened) -> None:
        self.until = max(self.until, record.wall)
        known = self.open.get(record.id)
        if record.touched is not None:
            if known is not None:
                self.open[record.id] = (known[0], dict(record.touched))
            return
        # A second `open` of a request: another model serves it now, or the same one once more.
        same_model = known is not None and known[0].model == record.model
        touched = known[1] if known is not None and same_model else None
        self.open[record.id] = (record, touched or None)  # of nothing, the reserve stands again

    def note(self, machine: str, wall: float, sync_s: float) -> Noted | None:
        """The note that the chain goes on after a crash; None when there was no crash.

        `machine`: the machine's boot by now.  `sync_s`: how far apart frames reached the disk.
        """
        if self.closed or not self.segments:
            return None
        return Noted(
            wall=wall,
            what="recovered",
            segment=self.number,
            size_bytes=self.cut_bytes,
            crashed=len(self.open),
            rebooted=self.boot.partition("/")[0] != machine,
            sync_s=sync_s,
            until=self.until,
        )

    def note_missing(self, wall: float) -> Noted:
        """The note that segments are gone, and that nobody wrote down who took them away.

        A power cut may keep the removal of a segment and lose the note of it.
        """
        return Noted(wall=wall, what="missing", segment=self.missing)

    @property
    def missing(self) -> int:
        """The segment before the oldest, if no note says that it is gone; 0 when there is none."""
        before = min(self.counts, default=1) - 1
        return 0 if before in self.dropped | self.told else before

    def ends(self) -> Iterator[Ended]:
        """The ends that the open requests get in place of their own."""
        for opened, touched in self.open.values():
            yield crashed(opened, touched, opened.wall)


def recover(directory: Path, key: Secret, worker: str = "") -> Recovered:
    """Read a worker's chain, and cut off the torn tail of its newest segment.

    Tampered, which names the segment, when the chain is broken anywhere else.
    """
    found = Recovered()
    paths = segments(directory, worker)
    for number, path in paths.items():
        found.number = number
        try:
            _read(path, key, found)
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


def _read(path: Path, key: Secret, found: Recovered) -> None:
    data = path.read_bytes()
    header, offset = read_head(data)
    if found.segments and header.last != found.last:
        raise Tampered(0)
    found.began(header)
    for frame in read_records(data, offset, key, header.last):
        found.saw(frame)
