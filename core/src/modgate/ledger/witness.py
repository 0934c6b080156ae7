"""Comparing a ledger with what a witness saw of it: a sink, or an anchor file elsewhere.

A chain proves that nothing in it was changed.  That its end was cut off, or that the whole
directory was lost, only somebody outside can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modgate.api.shipment import Cursor
from modgate.ledger.anchor import Anchored
from modgate.ledger.identity import name_of
from modgate.ledger.records import Noted
from modgate.ledger.segments import segments, writers
from modgate.ledger.tail import chain_at

Missing = Literal["behind", "replaced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Somebody outside who saw the newest chain value of a writer: a sink's name, or a path."""

    name: str
    cursor: Cursor


def holds(directory: Path, worker: str, cursor: Cursor) -> bool:
    """Whether a chain has the value that somebody saw, at the place where it was seen.

    True also when that segment was dropped since, for then nobody can tell.
    """
    if chain_at(directory, worker, cursor.segment, cursor.offset) == cursor.last:
        return True
    first = min(segments(directory, worker), default=None)  # of now: it may just have been dropped
    return first is not None and cursor.segment < first


def missing(directory: Path, worker: str, writer: str, seen: Cursor) -> Missing | None:
    """What a witness saw and is not here; None when it is, or when it is of somebody else.

    `behind`: this writer's chain ends before what was seen.  `replaced`: another writer of the same
    name was seen, and no segment here is its own.
    """
    if seen.writer == writer:
        return None if holds(directory, worker, seen) else "behind"
    if name_of(seen.writer) == name_of(writer) and seen.writer not in writers(directory):
        return "replaced"
    return None


def note_about(what: Missing, seen: Cursor, witness: str, wall: float) -> Noted:
    """The note that goes into the chain."""
    return Noted(
        wall=wall,
        what=what,
        segment=seen.segment,
        size_bytes=seen.offset,
        last=seen.last,
        until=seen.at,
        writer=seen.writer,
        sink=witness,
    )


def cursor_of(said: Anchored) -> Cursor:
    """What an anchor file saw, in the form in which sinks say it; it counts no frames."""
    return Cursor(
        writer=said.writer,
        segment=said.segment,
        offset=said.offset,
        frames=0,
        last=bytes.fromhex(said.last),
        at=said.wall,
    )
