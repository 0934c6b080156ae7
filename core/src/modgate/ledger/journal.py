"""Appending to a chain: each frame follows the one before, in segments that are begun and dropped.

Nothing here locks.  The ledger calls every method under its lock, from the event loop and from its
own thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

import msgspec

from modgate.api.secret import Secret
from modgate.clock import Clock
from modgate.ledger.disk import FULL, Disk, Position
from modgate.ledger.frames import ChainMac, Entry, Kind, SegmentHeader, frame
from modgate.ledger.fresh import Group
from modgate.ledger.policy import LedgerPolicy
from modgate.ledger.records import Noted
from modgate.ledger.recovery import Recovered
from modgate.ledger.rows import HAVE_ROWS

log = logging.getLogger(__name__)

_encoder = msgspec.msgpack.Encoder()


class Journal:
    """One worker's chain at its writing end.

    `writer`, `boot`: what the header of the next segment says of who writes.
    `acked`: by sink the number of the segment that it still needs; it has all that are older.
    `last`: the chain value of the newest frame.
    `frames`: how many were written since the start.
    `dropped_segments`: how many segments were removed since the start.
    `dropped_unacknowledged`: how many frames were ever removed before every sink had them.
    """

    def __init__(
        self,
        disk: Disk,
        key: Secret,
        clock: Clock,
        *,
        policy: LedgerPolicy,
        found: Recovered,
        writer: str,
        boot: str,
    ) -> None:
        self.writer = writer
        self.last = found.last
        self.frames = self.dropped_segments = 0
        self.dropped_unacknowledged = found.missed
        self.acked: dict[str, int] = {}
        self.disk = disk
        self._mac = ChainMac(key)
        self._clock = clock
        self._policy = policy
        self._boot = boot
        self._entries = Group()
        self._unsaid: deque[Noted] = deque()  # of what was dropped, or will be once it is noted
        self._saying = False
        self._noted = found.dropped & disk.sizes.keys()  # that are here all the same
        self.begin()

    @property
    def position(self) -> Position:
        """Behind the newest frame."""
        disk = self.disk
        return Position(disk.number, disk.written, disk.frames, self.last)

    def take_entries(self) -> Group:
        """The entries that came since this was last called."""
        taken, self._entries = self._entries, Group()
        return taken

    def append(self, kind: Kind, payload: bytes) -> None:
        """Write a frame.

        A new segment is begun when the newest is full.  When there is no room, the oldest segment
        is dropped if the policy lets it.  OSError when the disk takes nothing all the same.
        """
        if self._unsaid:
            self._say()
        self._write(kind, payload)

    def _say(self) -> None:
        """Write the notes of what was dropped, in this order; one that cannot be written waits."""
        if self._saying:
            return
        self._saying = True
        try:
            while self._unsaid:
                self._write(Kind.ANCHOR, _encoder.encode(self._unsaid[0]))
                said = self._unsaid.popleft()
                self._noted |= {said.segment} & self.disk.sizes.keys()
        finally:
            self._saying = False

    def _write(self, kind: Kind, payload: bytes) -> None:
        chain = self._mac.after(self.last, payload)
        data = frame(kind, payload, chain)
        disk = self.disk
        try:
            full = disk.frames and disk.written + len(data) > self._policy.segment_bytes
            if not disk.ready or full:
                self.begin()
                # From the beginning: a note may have been written, and this frame follows it.
                return self.append(kind, payload)
            disk.append(data)
        except OSError as error:
            if error.errno not in FULL or not self._drop_oldest(at_once=True):
                raise
            return self.append(kind, payload)
        self.last = chain
        self.frames += 1
        if kind in HAVE_ROWS:
            self._entries.add(Entry(kind, payload))
        return None

    def note(self, note: Noted) -> None:
        """Write down what befell the ledger itself; OSError as `append`."""
        self.append(Kind.ANCHOR, _encoder.encode(note))

    def begin(self) -> None:
        """Begin a new segment, and make room for it where the policy lets old ones go."""
        header = SegmentHeader(
            writer=self.writer, boot=self._boot, number=self.disk.number + 1, last=self.last
        )
        self.disk.begin(header)
        policy = self._policy
        while self.disk.kept + policy.segment_bytes > policy.max_bytes and self._drop_oldest():
            pass

    def _drop_oldest(self, *, at_once: bool = False) -> bool:
        """Drop the oldest segment; False when it must stay, by the policy or as the only one.

        Those that every sink has are the oldest, so they go first.  `at_once`: there is no room for
        the note of it before.
        """
        if self._policy.on_full != "drop-oldest" or (self._saying and not at_once):
            return False
        number = min(self.disk.sizes, default=self.disk.number)
        if number == self.disk.number:
            return False
        self._drop(number, at_once=at_once)
        return True

    def note_acknowledged(self, after_s: float) -> list[int]:
        """Note the segments that every sink has and that nobody wrote to for so many seconds.

        They go with `drop_noted`, when the notes are on the disk: a removal reaches it by itself.
        OSError when a note cannot be written.
        """
        noted = []
        needed = min(self.acked.values(), default=0)
        for number in sorted(each for each in self.disk.sizes if each < needed):
            age_s = self._clock.wall() - self.disk.changed_at(number)
            if number == self.disk.number or age_s <= after_s:
                break
            if number in self.disk.sizes:  # else the note of the one before had taken its room
                self._note(self.disk.end_of(number))
                self._say()
                noted.append(number)
        return noted

    def drop_noted(self, numbers: Iterable[int]) -> None:
        """Drop segments that were noted, but for those that are gone, or needed once more."""
        for number in numbers:
            if number in self._noted and self._acknowledged(number):
                self._drop(number)

    def _drop(self, number: int, *, at_once: bool = False) -> None:
        """Write down what is in a segment and whether every sink has it, and remove it.

        In this order: of one that is gone, and was not noted, nobody could say who took it away.
        Where it cannot be noted, or a crash came in between, it goes when it is to go once more.
        """
        end = self.disk.end_of(number)
        self._note(end)
        if not at_once:
            self._say()
            if number not in self.disk.sizes:
                return  # it made room for its own note
        self.disk.drop(number)
        self._noted.discard(number)
        self.dropped_segments += 1
        extra = {"segment": number, "frames": end.frames, "size_bytes": end.offset}
        if self._acknowledged(number):
            log.info("acknowledged ledger segment dropped", extra=extra)
        else:
            log.error("ledger segment dropped before a sink had it", extra=extra)

    def _acknowledged(self, number: int) -> bool:
        return bool(self.acked) and number < min(self.acked.values())

    def _note(self, end: Position) -> None:
        """What is to be said of a segment that goes, unless that was done."""
        number = end.segment
        if number in self._noted or any(each.segment == number for each in self._unsaid):
            return
        acknowledged = self._acknowledged(number)
        self.dropped_unacknowledged += 0 if acknowledged else end.frames
        self._unsaid.append(
            Noted(
                wall=self._clock.wall(),
                what="dropped",
                segment=number,
                frames=end.frames,
                missed=self.dropped_unacknowledged,
                size_bytes=end.offset,
                last=end.last,
                acknowledged=acknowledged,
            )
        )

    def abandon(self) -> Noted:
        """Somebody took away the newest segment: nothing more goes into it.

        The answer is the note of it, to be written when there is a segment again.
        """
        disk = self.disk
        disk.retire()
        self.dropped_unacknowledged += disk.frames
        return Noted(
            wall=self._clock.wall(),
            what="dropped",
            segment=disk.number,
            frames=disk.frames,
            missed=self.dropped_unacknowledged,
            size_bytes=disk.written,
        )
