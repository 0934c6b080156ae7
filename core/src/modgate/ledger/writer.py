"""The ledger of one worker: its records become frames, and frames are brought to the disk.

Each frame is handed to the kernel at once (journal.py), and the disk follows in groups (disk.py),
in a thread (sync_thread.py).  So a killed process loses nothing that was written, and a power cut
loses at most what came within `sync_s` and the time of two syncs.

Nothing here raises into a request.  `opened` answers whether the request may start; an end that the
disk does not take waits in memory until it does (backlog.py).
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.api.shipment import Cursor
from modgate.api.sink import Receipt
from modgate.clock import Clock
from modgate.ledger.anchor import AnchorFile
from modgate.ledger.backlog import Backlog
from modgate.ledger.chain_lock import ChainLock, ChainLocked
from modgate.ledger.disk import FULL, NOWHERE, Disk, Position
from modgate.ledger.frames import Kind
from modgate.ledger.fresh import Fresh
from modgate.ledger.identity import machine_boot, name_of, writer_id
from modgate.ledger.journal import Journal
from modgate.ledger.policy import LedgerPolicy
from modgate.ledger.records import Adjusted, Audited, Noted, Opened, ended_of, touch
from modgate.ledger.recovery import Recovered, recover
from modgate.ledger.sync_thread import SyncThread
from modgate.ledger.witness import cursor_of, missing, note_about

log = logging.getLogger(__name__)

RETRY_S = 1.0
LOOK_S = 1.0
AS_DEFAULT = LedgerPolicy()

_encoder = msgspec.msgpack.Encoder()


class Ledger:
    """The one writer of a worker's chain in a directory.

    `name`: this gateway's in its sinks; '' stands for the host's.  `worker`: '' for the gateway's
    own chain; another name makes a chain beside it.  `boot`: of the machine, for tests.

    Tampered when somebody else changed the chain, ChainLocked when another process writes it, and
    OSError when the disk does not take the first segment; then the chain is free again.

    `cut_bytes`, `recovered`: the torn bytes and the open requests that the start found.
    `synced`: everything before this position is on the disk.
    """

    def __init__(
        self,
        directory: Path,
        key: Secret,
        clock: Clock,
        policy: LedgerPolicy = AS_DEFAULT,
        *,
        name: str = "",
        worker: str = "",
        boot: str | None = None,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.worker = worker
        self.max_bytes = policy.max_bytes
        self.synced = NOWHERE
        self.fresh = Fresh()
        self._clock = clock
        self._policy = policy
        self._backlog = Backlog()
        self._trouble = ""
        self._lock = threading.Lock()
        self._chain_lock = ChainLock(directory, worker)
        try:
            found = recover(directory, key, worker)
            self.cut_bytes, self.recovered = found.cut_bytes, len(found.open)
            writer = writer_id(found.writer, name, worker)
            machine = machine_boot() if boot is None else boot
            self._anchor = AnchorFile.of(policy.anchor, writer, worker)
            self._disk = Disk.of(directory, worker, found.number, found.counts)
            self._journal = Journal(
                self._disk,
                key,
                clock,
                policy=policy,
                found=found,
                writer=writer,
                boot=f"{machine}/{os.urandom(8).hex()}",
            )
            self._grouped = self._journal.position
            self._looked_at = 0.0
            self._thread = SyncThread(self._upkeep, policy.sync_s)
            self._end_what_a_crash_cut(found, machine)
            self._ask_the_anchor()
        except BaseException:
            self._chain_lock.close()
            raise
        self._thread.start()

    def _end_what_a_crash_cut(self, found: Recovered, machine: str) -> None:
        note = found.note(machine, self._clock.wall(), self._policy.sync_s)
        if note is not None:
            self._journal.note(note)
            if note.rebooted and found.missing and self._policy.on_full == "drop-oldest":
                self._journal.note(found.note_missing(note.wall))
        for end in found.ends():
            self._keep(Kind.END, _encoder.encode(end))
        if found.open:
            log.warning("requests cut by a crash are billed", extra={"requests": len(found.open)})

    def _ask_the_anchor(self) -> None:
        try:
            said = self._anchor.read()
        except ValueError as error:
            log.error("ledger anchor unreadable", extra={"reason": str(error)})
            return
        if said is not None:
            self.witnessed(cursor_of(said), "anchor")

    @property
    def writable(self) -> bool:
        """Whether new requests may be admitted."""
        return self.refusal is None

    @property
    def refusal(self) -> str | None:
        """Why no new request is admitted, for the client to read; None when all is well."""
        if self._trouble:
            return self._trouble
        if self._disk.kept >= self.max_bytes and self._policy.on_full == "refuse":
            return "the gateway's usage ledger is full, so it takes no requests"
        return None

    @property
    def writer(self) -> str:
        """The id that segments and sinks know this writer by."""
        return self._journal.writer

    @property
    def acked(self) -> Mapping[str, int]:
        """By sink the number of the segment that it still needs; it has all that are older."""
        return self._journal.acked

    @property
    def position(self) -> Position:
        """Behind the newest frame."""
        with self._lock:
            return self._journal.position

    @property
    def frames(self) -> int:
        """Frames that were written since the start."""
        return self._journal.frames

    @property
    def lost_frames(self) -> int:
        """Ends that neither the disk nor the memory could hold."""
        return self._backlog.lost

    @property
    def dropped_segments(self) -> int:
        """Segments that were removed since the start."""
        return self._journal.dropped_segments

    @property
    def dropped_unacknowledged(self) -> int:
        """Frames that were ever removed before every sink had them."""
        return self._journal.dropped_unacknowledged

    @property
    def kept_bytes(self) -> int:
        """The bytes of all segments together."""
        return self._disk.kept

    def size_since(self, position: Position) -> tuple[int, int]:
        """How many frames and bytes lie between a position and the newest frame."""
        with self._lock:
            return self._disk.size_since(position)

    def opened(self, record: Opened) -> bool:
        """A request's first call is about to go out.

        False when this could not be written: then the call must not go out, for nothing would bill
        it after a crash.
        """
        return self._put(Kind.OPEN, _encoder.encode(record))

    def touched(self, request_id: str, units: Mapping[str, int]) -> None:
        """These units are a request's bill if the gateway dies now, in place of its reserve."""
        record = touch(request_id, self._clock.wall(), units)
        self._put(Kind.OPEN, _encoder.encode(record))

    def ended(self, receipt: Receipt) -> None:
        """A request has ended."""
        self._keep(Kind.END, _encoder.encode(ended_of(receipt)))

    def adjusted(self, record: Adjusted) -> None:
        """A bill that was made is put right, by a row of its own."""
        self._keep(Kind.ADJUST, _encoder.encode(record))

    def audited(self, record: Audited) -> None:
        """Something happened that an auditor asks for."""
        self._keep(Kind.AUDIT, _encoder.encode(record))

    def acknowledge(self, sink: str, segment: int) -> None:
        """A sink has all segments before this one; fewer than it had, if it lost some."""
        self._journal.acked[sink] = segment

    def witnessed(self, seen: Cursor, witness: str) -> bool:
        """A witness saw this of the ledger: a sink, or the anchor file.

        False when the ledger lacks it; that is written down.  Where the end of this very chain is
        missing, the chain goes on under a new writer's id, so that what was seen of the old one
        stays to be compared.
        """
        with self._lock:
            journal = self._journal
            what = missing(self.directory, self.worker, journal.writer, seen)
            if what is None:
                return True
            if what == "behind":
                journal.writer = writer_id("", name_of(journal.writer), "")
                self._anchor.writer = journal.writer
                journal.begin()
            journal.note(note_about(what, seen, witness, self._clock.wall()))
        self._thread.written.set()
        about = {"witness": witness, "writer": seen.writer, "segment": seen.segment}
        log.error("the ledger lacks what a witness saw", extra={**about, "what": what})
        return False

    def _keep(self, kind: Kind, payload: bytes) -> None:
        """Write a frame that must not be lost: what the disk does not take waits in memory."""
        if self._put(kind, payload):
            return
        with self._lock:
            if not self._backlog.put(kind, payload):
                log.error("ledger frame lost", extra={"frames": self._backlog.lost})

    def _put(self, kind: Kind, payload: bytes) -> bool:
        """Write a frame; False when the disk does not take it."""
        with self._lock:
            try:
                if self._trouble:
                    self._chain_lock.renew()
                self._journal.append(kind, payload)
            except OSError as error:
                self._fail(error)
                return False
        written = self._thread.written
        if not written.is_set():  # same result without it: a set event costs a lock to set
            written.set()
        return True

    def _fail(self, error: OSError) -> None:
        """The disk is in trouble: no new request is admitted until `retry` finds it well."""
        reason = "it cannot write its ledger"
        if isinstance(error, ChainLocked):
            reason = "another one writes its ledger"
        elif error.errno in FULL:
            reason = "the disk of its usage ledger is full"
        trouble = f"the gateway takes no requests: {reason}"
        if self._trouble == trouble:
            return
        self._trouble = trouble
        log.error("ledger does not write", extra={"reason": error.strerror or str(error)})

    def retry(self) -> bool:
        """After trouble, write what waits; whether the disk takes frames."""
        with self._lock:
            if not self._trouble:
                return True
            wall = self._clock.wall()
            try:
                self._chain_lock.renew()
                count = self._backlog.write(self._journal, wall)
                self._journal.note(Noted(wall=wall, what="resumed", frames=count))
            except OSError as error:
                self._fail(error)
                return False
            self._trouble = ""
        self._thread.written.set()
        log.warning("ledger writes again", extra={"directory": self.directory.name})
        return True

    def sync(self) -> None:
        """Bring to the disk what was written so far; it waits for the disk."""
        with self._lock:
            group = self._disk.group(self._journal.last)
            entries = self._journal.take_entries()
            before, self._grouped = self._grouped, group.position
        try:
            self._disk.sync(group)
        except OSError as error:
            self._unsynced(error, group.position)
            return
        self.fresh.synced(before, entries, group.position)
        self.synced = group.position

    def _unsynced(self, error: OSError, position: Position) -> None:
        """The disk did not keep what it took.

        What is there stays as it is, and a new segment begins: a second sync of the same file would
        answer that all is well and prove nothing.
        """
        with self._lock:
            self._fail(error)
            self._disk.retire()
            note = Noted(wall=self._clock.wall(), what="unsynced", segment=position.segment)
            self._backlog.notes.append(note)
        log.error("ledger not synced", extra={"segment": position.segment})

    def _upkeep(self, written: bool) -> None:
        """What the thread does, over and over; `written`: there are new frames to sync."""
        if written:
            self.sync()
        if (now := time.monotonic()) - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._look_for_a_removed_segment()
        if self._trouble and self._thread.rest(RETRY_S):
            self.retry()
        self._anchor.keep(self.synced, self._clock.wall())
        if self._disk.kept >= self.max_bytes:
            with self._lock:
                self._disk.recount()
        if self._policy.keep_acknowledged_s is not None:
            self._drop_acknowledged(self._policy.keep_acknowledged_s)

    def _look_for_a_removed_segment(self) -> None:
        """Where somebody took away the newest segment, another one begins with the next `retry`.

        Where the lock was taken away, too, another gateway may have begun in its place.
        """
        with self._lock:
            if self._trouble:
                return
            try:
                self._chain_lock.renew()
            except ChainLocked as error:
                self._fail(error)
                return
            except OSError:
                pass  # the directory is gone, as the segment is
            if not self._disk.removed:
                return
            text = f"segment {self._disk.number} was removed"
            self._fail(FileNotFoundError(errno.ENOENT, text))
            self._backlog.notes.append(self._journal.abandon())

    def _drop_acknowledged(self, after_s: float) -> None:
        journal, noted = self._journal, list[int]()
        if self._tried(lambda: noted.extend(journal.note_acknowledged(after_s))) and noted:
            self.sync()
            self._tried(lambda: journal.drop_noted(noted))

    def _tried(self, step: Callable[[], None]) -> bool:
        """Take a step, unless the disk is in trouble; whether it was taken."""
        with self._lock:
            if self._trouble:
                return False
            try:
                step()
            except OSError as error:
                self._fail(error)
                return False
        return True

    def close(self) -> None:
        """Bring everything to the disk and let go of the chain; a second time does nothing."""
        if self._thread.stopped:
            return
        self._thread.stop()
        if self._trouble:
            self.retry()
        with self._lock:
            try:
                self._chain_lock.renew()
                self._journal.note(Noted(wall=self._clock.wall(), what="closed"))
            except OSError as error:
                self._fail(error)
            self._disk.retire()
        if waiting := self._backlog.waiting:
            log.error("ledger closed with bills in memory", extra={"frames": waiting})
        self.sync()
        self._anchor.keep(self.synced, self._clock.wall(), at_once=True)
        self._chain_lock.close()
