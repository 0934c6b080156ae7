"""Writing the ledger: each frame is handed to the kernel at once, the disk follows in groups.

A killed process loses nothing that was written; a power cut loses at most what came since the last
group.  Nothing here raises into a request: a disk that fails turns `writable` off, which refuses
new requests, and is logged once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.api.sink import Receipt
from modgate.clock import Clock
from modgate.ledger.frames import Chain, Kind, SegmentHeader, frame, segment_head
from modgate.ledger.records import Ended, Opened, crashed, ended_of
from modgate.ledger.segments import recover, segment_paths

log = logging.getLogger(__name__)

SEGMENT_BYTES = 64 << 20
KEEP_BYTES = 8 << 30
SYNC_EVERY_S = 0.02
RETRY_S = 1.0

_encoder = msgspec.msgpack.Encoder()


class Ledger:
    """One writer on one directory.  `open_requests` are those with an open frame and no end."""

    def __init__(
        self,
        directory: Path,
        key: Secret,
        clock: Clock,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self._chain = Chain(key)
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._keep_bytes = keep_bytes
        self._boot = os.urandom(8).hex()
        found = recover(directory, key)
        self._last = found.last
        self._number = found.number
        self._written = 0
        self._kept = sum(path.stat().st_size for path in segment_paths(directory))
        self._fd = -1
        self._failed_at: float | None = None
        self.frames = 0
        self.cut_bytes = found.cut_bytes
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._rotate()
        for opened, touched in found.open.values():
            self._end(crashed(opened, touched, opened.wall))
        self.recovered = len(found.open)
        if self.recovered:
            log.warning("requests cut by a crash are billed", extra={"requests": self.recovered})
        self._syncer = threading.Thread(target=self._sync, name="ledger-sync", daemon=True)
        self._syncer.start()

    @property
    def writable(self) -> bool:
        """Whether new requests may be admitted.

        The disk takes frames, and the bound is not reached.
        """
        if self._failed_at is not None and self._clock.now() - self._failed_at < RETRY_S:
            return False
        return self._kept < self._keep_bytes

    def opened(
        self,
        request_id: str,
        *,
        tenant: str,
        key_id: str,
        model: str,
        modality: str,
        reserved: Mapping[str, int],
    ) -> None:
        """A request's first call is about to go out."""
        record = Opened(
            id=request_id,
            wall=self._clock.wall(),
            tenant=tenant,
            key_id=key_id,
            model=model,
            modality=modality,
            reserved=dict(reserved),
        )
        self._put(Kind.OPEN, _encoder.encode(record))

    def touched(self, request_id: str, units: Mapping[str, int]) -> None:
        """A long request has used so much: the bill if the gateway dies now."""
        record = Opened(id=request_id, wall=self._clock.wall(), touched=dict(units))
        self._put(Kind.OPEN, _encoder.encode(record))

    def ended(self, receipt: Receipt) -> None:
        """A request's end."""
        self._end(ended_of(receipt))

    def _end(self, record: Ended) -> None:
        self._put(Kind.END, _encoder.encode(record))

    def _put(self, kind: Kind, payload: bytes) -> None:
        chain = self._chain.after(self._last, payload)
        data = frame(kind, payload, chain)
        try:
            if self._fd < 0 or self._written + len(data) > self._segment_bytes:
                self._rotate()
            self._write(data)
        except OSError as error:
            self._fail(error)
            return
        if self._failed_at is not None:
            self._failed_at = None
            log.warning("ledger writes again", extra={"directory": self.directory.name})
        self._last = chain
        self.frames += 1
        if not self._dirty.is_set():  # same result without it: a set event costs a lock to set
            self._dirty.set()

    def _write(self, data: bytes) -> None:
        """All of it or nothing: half a frame would look like a torn tail in the middle."""
        written = os.write(self._fd, data)
        if written != len(data):
            os.ftruncate(self._fd, self._written)
            raise OSError("a short write")
        self._written += written
        self._kept += written

    def _fail(self, error: OSError) -> None:
        if self._failed_at is None:
            log.error("ledger does not write", extra={"reason": type(error).__name__})
        self._failed_at = self._clock.now()

    def _rotate(self) -> None:
        """Begin a new segment; the old one is on disk first."""
        if self._fd >= 0:
            os.fdatasync(self._fd)
            os.close(self._fd)
            self._fd = -1
        number = self._number + 1
        header = SegmentHeader(
            writer=f"{os.getpid()}", boot=self._boot, number=number, last=self._last
        )
        path = self.directory / f"segment-{number:08}.ledger"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        head = segment_head(header)
        try:
            if os.write(fd, head) != len(head):
                raise OSError("a short write")
        except OSError:
            os.close(fd)
            path.unlink()  # frames behind half a header could not be read
            raise
        self._fd, self._number, self._written = fd, number, len(head)
        self._kept += len(head)

    def _sync(self) -> None:
        while not self._closing.is_set():
            self._dirty.wait()
            self._dirty.clear()
            fd = self._fd
            try:
                if fd >= 0:  # else it is being rotated
                    os.fdatasync(fd)
            except OSError:
                continue  # a segment that was rotated meanwhile was synced then
            self._closing.wait(SYNC_EVERY_S)

    def close(self) -> None:
        """Everything on disk, and the file closed."""
        self._closing.set()
        self._dirty.set()
        self._syncer.join(timeout=5.0)
        if self._fd >= 0:
            os.fdatasync(self._fd)
            os.close(self._fd)
            self._fd = -1
