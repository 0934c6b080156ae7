"""Reading the audit log back, with the proof that nobody edited, removed or cut what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.ledger.anchor import Anchored, read_anchor
from modgate.ledger.audit import AuditChain
from modgate.ledger.frames import Frame, Kind, SegmentHeader, Tampered, Torn
from modgate.ledger.records import Audited
from modgate.ledger.segments import FIRST_CHAIN, frames_of, head_of, note_of, segments


class Broken(Exception):
    """The audit log is not what its writer wrote; the message says where."""


@dataclass(slots=True)
class Proof:
    """What was proven of a chain so far.

    `dropped`: how many segments its writer says that it dropped.  `head`: the chain value of the
    newest frame, in hexadecimal, to be compared with one that was kept elsewhere.
    """

    records: int = 0
    segments: int = 0
    dropped: int = 0
    head: str = FIRST_CHAIN.hex()


class AuditReader:
    """Reads one of the two chains.  `anchor`: the file that `[audit] anchor` names, or None.

    `proof`: what was proven so far; complete when `records` has come to its end.
    """

    def __init__(
        self, directory: Path, chain: AuditChain, key: Secret, *, anchor: Path | None = None
    ) -> None:
        self._paths = segments(directory, chain)
        self._key = key
        self._anchor = _anchored(anchor, chain)
        self._gone: tuple[int, bytes] | None = None
        self._seen = self._anchor is None
        self.proof = Proof()

    def records(self) -> Iterator[Audited]:
        """The records in order, each proven before it is given.

        Broken where a record was edited or removed, where a segment is missing that the writer did
        not drop, and at the end when the anchor saw more than there is.
        """
        for number, path in self._paths.items():
            try:
                for frame in self._frames(number, path):
                    if frame.kind is Kind.AUDIT:
                        self.proof.records += 1
                        yield msgspec.msgpack.decode(frame.payload, type=Audited)
            except Tampered as error:
                raise Broken(f"{path.name}: {error}") from None
            except Torn as error:
                if number != max(self._paths):
                    raise Broken(f"{path.name}: {error}") from None
        self._end()

    def _frames(self, number: int, path: Path) -> Iterator[Frame]:
        self._follows(number, path, head_of(path))
        for _, frame in frames_of(path, self._key):
            self.proof.head = frame.chain.hex()
            self._look(self.proof.head)
            note = note_of(frame) if frame.kind is Kind.ANCHOR else None
            if note is not None and note.what == "dropped":
                self.proof.dropped += 1
                if self._gone is not None and self._gone == (note.segment, note.last):
                    self._gone = None
            yield frame

    def _follows(self, number: int, path: Path, header: SegmentHeader) -> None:
        """Check that a segment begins where the one before ended, or is the first that is left."""
        first = not self.proof.segments
        self.proof.segments += 1
        self._look(header.last.hex())
        if first and number == 1:
            if header.last != FIRST_CHAIN:
                raise Tampered(0)
        elif first:
            self._gone = (number - 1, header.last)  # the writer must have noted that it dropped it
        elif header.last.hex() != self.proof.head:
            raise Broken(f"a segment is missing before {path.name}")

    def _look(self, head: str) -> None:
        self._seen = self._seen or (self._anchor is not None and head == self._anchor.last)

    def _end(self) -> None:
        if self._gone is not None:
            raise Broken(f"segment {self._gone[0]} is missing, and the writer did not drop it")
        kept = self._anchor is not None and self._anchor.segment >= min(self._paths, default=0)
        if kept and not self._seen:
            raise Broken("records at the end are missing that the anchor saw")


def _anchored(path: Path | None, chain: AuditChain) -> Anchored | None:
    """What the anchor file of a chain says; Broken when it is none."""
    if path is None:
        return None
    try:
        return read_anchor(path.with_name(f"{path.name}.{chain}"))
    except ValueError as error:
        raise Broken(str(error)) from None
