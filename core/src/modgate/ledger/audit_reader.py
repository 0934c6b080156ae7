"""Reading the audit log back, with the proof that nobody edited, removed or cut what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.ledger.anchor import Anchored, read_anchor
from modgate.ledger.audit import AuditChain
from modgate.ledger.chain_reader import Broken, ChainReader
from modgate.ledger.frames import Kind
from modgate.ledger.records import Audited
from modgate.ledger.witness import cursor_of, holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proven of a chain so far.

    `dropped`: how many segments its writer says that it dropped.  `head`: the chain value of the
    newest frame, in hexadecimal, to be compared with one that was kept elsewhere.
    """

    records: int
    segments: int
    dropped: int
    head: str


class AuditReader:
    """Reads one of the two chains.  `anchor`: the file that `[audit] anchor` names, or None."""

    def __init__(
        self, directory: Path, chain: AuditChain, key: Secret, *, anchor: Path | None = None
    ) -> None:
        self._directory = directory
        self._name = chain
        self._chain = ChainReader(directory, chain, key)
        self._anchored = _anchored(anchor, chain)
        self._records = 0

    @property
    def proof(self) -> Proof:
        """What was proven so far; complete when `records` has come to its end."""
        chain = self._chain
        return Proof(
            records=self._records,
            segments=chain.segments,
            dropped=chain.dropped,
            head=chain.last.hex(),
        )

    def records(self) -> Iterator[Audited]:
        """The records in order, each proven before it is given.

        Broken as `ChainReader.read` says, and at the end when the anchor saw more than there is.
        """
        for frame in self._chain.read():
            if frame.kind is Kind.AUDIT:
                self._records += 1
                yield msgspec.msgpack.decode(frame.payload, type=Audited)
        said = self._anchored
        if said is not None and not holds(self._directory, self._name, cursor_of(said)):
            raise Broken("records at the end are missing that the anchor saw")


def _anchored(path: Path | None, chain: AuditChain) -> Anchored | None:
    """What the anchor file of a chain says; Broken when it is none."""
    if path is None:
        return None
    try:
        return read_anchor(path.with_name(f"{path.name}.{chain}"))
    except ValueError as error:
        raise Broken(str(error)) from None
