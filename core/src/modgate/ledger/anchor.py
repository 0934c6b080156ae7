"""A file elsewhere with the newest chain value: it proves that a ledger's end was not cut off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from modgate.ledger.disk import NOWHERE, Position
from modgate.whole_file import write_whole

EVERY_S = 1.0


class Anchored(msgspec.Struct, frozen=True, kw_only=True):
    """The file's JSON.  `last`: the chain value at that offset, in hexadecimal; `wall`: when."""

    v: int = 1
    writer: str
    segment: int
    offset: int
    last: str
    wall: float


@dataclass(slots=True, eq=False)
class AnchorFile:
    """One worker's anchor file, written by the ledger's thread after a sync, once a second at most.

    Without a path nothing is written.  A file that cannot be written is passed over, for the ledger
    does not depend on its witness.
    """

    path: Path | None
    writer: str
    _kept: Position = NOWHERE
    _at: float = 0.0

    @classmethod
    def of(cls, path: Path | None, writer: str, worker: str) -> Self:
        """The file of a worker: `PATH`, or `PATH.worker`."""
        if path is not None and worker:
            path = path.with_name(f"{path.name}.{worker}")
        return cls(path, writer)

    def keep(self, position: Position, wall: float, *, at_once: bool = False) -> None:
        """Write up to where the ledger is on disk.  `at_once`: before the second is over."""
        if self.path is None or position == self._kept:
            return
        if not at_once and 0 <= wall - self._at < EVERY_S:
            return
        said = Anchored(
            writer=self.writer,
            segment=position.segment,
            offset=position.offset,
            last=position.last.hex(),
            wall=wall,
        )
        try:
            write_whole(self.path, msgspec.json.encode(said) + b"\n")
        except OSError:
            return
        self._kept, self._at = position, wall

    def read(self) -> Anchored | None:
        """What the file says from the last run; None without one, else as `read_anchor`."""
        return read_anchor(self.path) if self.path is not None else None


def read_anchor(path: Path) -> Anchored | None:
    """What an anchor file says; None when it is not there, ValueError when it is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=Anchored)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is no anchor of a ledger: {error}") from None
