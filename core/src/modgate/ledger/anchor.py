"""The last chain head in a file elsewhere: what proves that a ledger was not cut behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from modgate.ledger.disk import NOWHERE, Position
from modgate.whole_file import write_whole

EVERY_S = 1.0


class Anchored(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says, as JSON; `last` is hexadecimal."""

    v: int = 1
    writer: str
    segment: int
    offset: int
    last: str
    wall: float


@dataclass(slots=True, eq=False)
class AnchorFile:
    """Kept by a ledger's thread after each sync, at most once a second; no path, nothing is kept.

    A file that cannot be written is passed over: the ledger does not depend on its witness.
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
        """The ledger is on disk up to here."""
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
        """What the file says from the last time; ValueError for one that says nothing."""
        return read_anchor(self.path) if self.path is not None else None


def read_anchor(path: Path) -> Anchored | None:
    """What a file says; None when it is not there.  ValueError for one that says nothing."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=Anchored)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is no anchor of a ledger: {error}") from None
