"""Writing the ledger: each frame is handed to the kernel at once, the disk follows in groups.

A killed process loses nothing that was written; a power cut loses at most what came within `sync_s`
and the time of two syncs.  Nothing here raises into a request: `opened` answers whether it may
start, and an end that the disk does not take waits in memory until it does.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.api.shipment import Cursor
from modgate.api.sink import Receipt
from modgate.clock import Clock
from modgate.ledger.anchor import AnchorFile
from modgate.ledger.disk import FULL, MAX_BYTES, NOWHERE, SEGMENT_BYTES, Disk, OnFull, Position
from modgate.ledger.frames import Chain, Entry, Kind, SegmentHeader, frame
from modgate.ledger.fresh import Fresh, Group
from modgate.ledger.identity import Hold, machine_boot, name_of, writer_id
from modgate.ledger.records import Adjusted, Audited, Event, Noted, Opened, crashed, ended_of, touch
from modgate.ledger.rows import HAVE_ROWS
from modgate.ledger.segments import Recovered, recover
from modgate.ledger.waiting import Waiting
from modgate.ledger.witness import cursor_of, missing, said_by

log = logging.getLogger(__name__)

SYNC_S = 0.02
RETRY_S = 1.0
LOOK_S = 1.0

_encoder = msgspec.msgpack.Encoder()


class Ledger:
    """One writer on one directory.

    `worker`: its own chain, beside those of other workers.  `name`: of this gateway in its sinks.
    `acked`: by sink the segment that it still needs; all before it were acknowledged.
    """

    def __init__(
        self,
        directory: Path,
        key: Secret,
        clock: Clock,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        max_bytes: int = MAX_BYTES,
        on_full: OnFull = "refuse",
        keep_acknowledged_s: float | None = None,
        sync_s: float = SYNC_S,
        anchor: Path | None = None,
        name: str = "",
        worker: str = "",
        boot: str | None = None,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.worker = worker
        self._hold = Hold(directory, worker)
        self._chain = Chain(key)
        self._clock = clock
        self._segment_bytes = segment_bytes
        self.max_bytes = max_bytes
        self._on_full = on_full
        self._keep_acknowledged_s = keep_acknowledged_s
        self._sync_s = sync_s
        self._machine = machine_boot() if boot is None else boot
        self._boot = f"{self._machine}/{os.urandom(8).hex()}"
        self._waiting = Waiting()
        self._trouble = ""
        self._untold: list[tuple[Event, Mapping[str, int]]] = []
        self._lock = threading.Lock()
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self.acked: dict[str, int] = {}
        self.frames = self.dropped_segments = 0
        try:
            found = recover(directory, key, worker)
        except BaseException:
            self._hold.close()
            raise
        self.writer = writer_id(found.writer, name, worker)
        self._anchor = AnchorFile.of(anchor, self.writer, worker)
        self._last, self.dropped_unacknowledged = found.last, found.missed
        self._disk = Disk.of(directory, worker, found.number, found.counts)
        self.cut_bytes, self.recovered = found.cut_bytes, len(found.open)
        self.synced = NOWHERE
        self._entries = Group()
        self._begin()
        self._grouped = self.position
        self.fresh = Fresh()
        self._ended_by_the_crash(found)
        self._ask_the_anchor()
        self._dirty.set()
        self._syncer = threading.Thread(target=self._run, name="ledger-sync", daemon=True)
        self._syncer.start()

    def _ended_by_the_crash(self, found: Recovered) -> None:
        if found.segments and not found.closed:
            self._note(
                "recovered",
                segment=found.number,
                size_bytes=found.cut_bytes,
                crashed=len(found.open),
                rebooted=found.boot.partition("/")[0] != self._machine,
                sync_s=self._sync_s,
                until=found.until,
            )
        for opened, touched in found.open.values():
            self._keep(Kind.END, _encoder.encode(crashed(opened, touched, opened.wall)))
        if found.open:
            log.warning("requests cut by a crash are billed", extra={"requests": len(found.open)})

    def _ask_the_anchor(self) -> None:
        try:
            said = self._anchor.read()
        except ValueError as error:
            log.error("ledger anchor unreadable", extra={"reason": str(error)})
            return
        if said is not None:
            self.held_against(cursor_of(said), "anchor")

    @property
    def writable(self) -> bool:
        """Whether new requests may be admitted."""
        return self.refusal is None

    @property
    def refusal(self) -> str | None:
        """Why no new request is admitted, for the client; None when all is well."""
        if self._trouble:
            return self._trouble
        if self._disk.kept >= self.max_bytes and self._on_full == "refuse":
            return "the gateway's usage ledger is full, so it takes no requests"
        return None

    @property
    def position(self) -> Position:
        """Behind the newest frame."""
        with self._lock:
            return Position(self._disk.number, self._disk.written, self._disk.frames, self._last)

    @property
    def lost_frames(self) -> int:
        """Ends that neither disk nor memory could hold."""
        return self._waiting.lost

    @property
    def kept_bytes(self) -> int:
        """Bytes of all segments."""
        return self._disk.kept

    def behind(self, segment: int, offset: int, frames: int) -> tuple[int, int]:
        """Frames and bytes from a position to the newest frame."""
        with self._lock:
            return self._disk.behind(segment, offset, frames)

    def opened(self, record: Opened) -> bool:
        """A request's first call is about to go out.  False: it must not, nothing could bill it."""
        return self._put(Kind.OPEN, _encoder.encode(record))

    def touched(self, request_id: str, units: Mapping[str, int]) -> None:
        """A long request has used so much: the bill if the gateway dies now.

        One that has used nothing yet leaves the reserve standing.
        """
        if any(units.values()):
            record = touch(request_id, self._clock.wall(), units)
            self._put(Kind.OPEN, _encoder.encode(record))

    def ended(self, receipt: Receipt) -> None:
        """A request's end."""
        self._keep(Kind.END, _encoder.encode(ended_of(receipt)))

    def adjusted(self, record: Adjusted) -> None:
        """A bill that was made is put right by a row of its own."""
        self._keep(Kind.ADJUST, _encoder.encode(record))

    def audited(self, record: Audited) -> None:
        """Something that an auditor asks for."""
        self._keep(Kind.AUDIT, _encoder.encode(record))

    def _note(self, what: Event, **about: int | str | float | bytes) -> None:
        """Something befell the ledger: told in the chain (under the lock)."""
        record = msgspec.convert({"wall": self._clock.wall(), "what": what, **about}, Noted)
        self._append(Kind.ANCHOR, _encoder.encode(record))

    def held_against(self, seen: Cursor, witness: str) -> bool:
        """Whether a witness saw what is not here: written down, and this chain goes on as another
        writer, so that what was seen of the old one stays to be compared."""
        with self._lock:
            what = missing(self.directory, self.worker, self.writer, seen)
            if what is None:
                return False
            if what == "behind":
                self.writer = self._anchor.writer = writer_id("", name_of(self.writer), "")
                self._begin()
            self._note(what, **said_by(witness, seen))
        self._dirty.set()
        about = {"witness": witness, "writer": seen.writer, "segment": seen.segment}
        log.error("the ledger lacks what a witness saw", extra={**about, "what": what})
        return True

    def _keep(self, kind: Kind, payload: bytes) -> None:
        """A frame that must not be lost: what the disk does not take waits."""
        if self._put(kind, payload):
            return
        with self._lock:
            if not self._waiting.put(kind, payload):
                log.error("ledger frame lost", extra={"frames": self._waiting.lost})

    def _put(self, kind: Kind, payload: bytes) -> bool:
        with self._lock:
            try:
                self._append(kind, payload)
            except OSError as error:
                self._fail(error)
                return False
        if not self._dirty.is_set():  # same result without it: a set event costs a lock to set
            self._dirty.set()
        return True

    def _append(self, kind: Kind, payload: bytes) -> None:
        """Write a frame, with room made for it where that may be made."""
        chain = self._chain.after(self._last, payload)
        data = frame(kind, payload, chain)
        disk = self._disk
        try:
            if not disk.ready or (disk.frames and disk.written + len(data) > self._segment_bytes):
                self._begin()
                return self._append(kind, payload)  # a note may have gone before it
            disk.append(data)
        except OSError as error:
            if error.errno not in FULL or not self._drop_oldest():
                raise
            return self._append(kind, payload)
        self._last = chain
        self.frames += 1
        if kind in HAVE_ROWS:
            self._entries.add(Entry(kind, payload))
        return None

    def _begin(self) -> None:
        """A new segment."""
        number = self._disk.number + 1
        header = SegmentHeader(writer=self.writer, boot=self._boot, number=number, last=self._last)
        self._disk.begin(header)
        while self._disk.kept + self._segment_bytes > self.max_bytes and self._drop_oldest():
            pass

    def _drop_oldest(self) -> bool:
        """Remove the oldest full segment if it may go: acknowledged ones are the oldest."""
        if self._on_full != "drop-oldest":
            return False
        number = min(self._disk.sizes, default=self._disk.number)
        if number == self._disk.number:
            return False
        self._drop(number)
        return True

    def _drop(self, number: int) -> None:
        acknowledged = bool(self.acked) and number < min(self.acked.values())
        end = self._disk.drop(number)
        self.dropped_segments += 1
        about = {"segment": number, "frames": end.frames, "size_bytes": end.offset}
        if not acknowledged:
            self.dropped_unacknowledged += end.frames
            log.error("ledger segment dropped before a sink had it", extra=about)
        else:
            log.info("acknowledged ledger segment dropped", extra=about)
        about |= {"missed": self.dropped_unacknowledged}
        self._note("dropped", **about, last=end.last, acknowledged=acknowledged)

    def _fail(self, error: OSError) -> None:
        if self._trouble:
            return
        full, other = "the disk of its usage ledger is full", "it cannot write its ledger"
        reason = full if error.errno in FULL else other
        self._trouble = f"the gateway takes no requests: {reason}"
        log.error("ledger does not write", extra={"reason": error.strerror or str(error)})

    def retry(self) -> bool:
        """Whether the disk takes frames: after trouble, those that wait are tried."""
        with self._lock:
            if not self._trouble:
                return True
            try:
                while self._untold:
                    what, about = self._untold[0]
                    self._note(what, **about)
                    del self._untold[0]
                count = len(self._waiting)
                while self._waiting:
                    self._append(*self._waiting.first())
                    self._waiting.pop()
                self._note("resumed", frames=count)
            except OSError:
                return False
            self._trouble = ""
        self._dirty.set()
        log.warning("ledger writes again", extra={"directory": self.directory.name})
        return True

    def sync(self) -> None:
        """Bring to the disk what was written so far."""
        with self._lock:
            group = self._disk.group(self._last)
            entries, self._entries = self._entries, Group()
            before, self._grouped = self._grouped, group.position
        try:
            self._disk.sync(group)
        except OSError as error:
            self._unsynced(error, group.position)
            return
        self.fresh.synced(before, entries, group.position)
        self.synced = group.position

    def _unsynced(self, error: OSError, position: Position) -> None:
        """The disk did not keep what it took: what is there stays as it is, and a new segment
        begins (a second sync would answer that all is well and prove nothing)."""
        with self._lock:
            self._fail(error)
            self._disk.retire()
            self._untold.append(("unsynced", {"segment": position.segment}))
        log.error("ledger not synced", extra={"segment": position.segment})

    def _look(self) -> None:
        """Somebody may take away the segment that is written; another one begins where it can."""
        with self._lock:
            if self._trouble or not (disk := self._disk).removed:
                return
            self._fail(FileNotFoundError(errno.ENOENT, f"segment {disk.number} was removed"))
            disk.retire()
            self.dropped_unacknowledged += disk.frames
            about = {"segment": disk.number, "frames": disk.frames, "size_bytes": disk.written}
            about["missed"] = self.dropped_unacknowledged
            self._untold.append(("dropped", about))

    def _run(self) -> None:
        looked = 0.0
        while not self._closing.is_set():
            self._dirty.wait(RETRY_S)
            if self._dirty.is_set():
                self._dirty.clear()
                self.sync()
            if (now := time.monotonic()) - looked >= LOOK_S:
                looked = now
                self._look()
            if self._trouble and not self._closing.wait(RETRY_S):
                self.retry()
            self._anchor.keep(self.synced, self._clock.wall())
            if self._disk.kept >= self.max_bytes:
                with self._lock:
                    self._disk.recount()
            if self._keep_acknowledged_s is not None:
                self._drop_acknowledged(self._keep_acknowledged_s)
            self._closing.wait(self._sync_s)

    def _drop_acknowledged(self, after_s: float) -> None:
        """Remove what every sink has had for so long."""
        needed = min(self.acked.values(), default=0)
        with self._lock:
            for number in sorted(each for each in self._disk.sizes if each < needed):
                age_s = self._clock.wall() - self._disk.changed_at(number)
                if number == self._disk.number or age_s <= after_s or self._trouble:
                    break
                try:
                    self._drop(number)
                except OSError as error:
                    self._fail(error)

    def close(self) -> None:
        """Everything on disk, and the file closed; a second time does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._dirty.set()
        self._syncer.join(timeout=5.0)
        if self._trouble:
            self.retry()
        with self._lock:
            try:
                self._note("closed")
            except OSError as error:
                self._fail(error)
            self._disk.retire()
        self.sync()
        self._anchor.keep(self.synced, self._clock.wall(), at_once=True)
        self._hold.close()
