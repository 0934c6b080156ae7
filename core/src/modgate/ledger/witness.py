"""Holding a ledger against what a sink, or a file elsewhere, saw of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from modgate.api.shipment import Cursor
from modgate.ledger.anchor import Anchored
from modgate.ledger.identity import name_of
from modgate.ledger.segments import segments, writers
from modgate.ledger.tail import chain_at

Missing = Literal["behind", "replaced"]


def holds(directory: Path, worker: str, cursor: Cursor) -> bool:
    """Whether a chain has the head that somebody saw of it; True where it was dropped since."""
    first = min(segments(directory, worker), default=None)
    if first is not None and cursor.segment < first:
        return True
    return chain_at(directory, worker, cursor.segment, cursor.offset) == cursor.last


def missing(directory: Path, worker: str, writer: str, seen: Cursor) -> Missing | None:
    """What a witness saw and is not here: the end of this writer's chain, or the whole of another
    that had the same name."""
    if seen.writer == writer:
        return None if holds(directory, worker, seen) else "behind"
    if name_of(seen.writer) == name_of(writer) and seen.writer not in writers(directory):
        return "replaced"
    return None


def said_by(witness: str, seen: Cursor) -> dict[str, int | str | float | bytes]:
    """What the chain's own note tells of it."""
    return {
        "writer": seen.writer,
        "segment": seen.segment,
        "size_bytes": seen.offset,
        "last": seen.last,
        "until": seen.at,
        "sink": witness,
    }


def cursor_of(said: Anchored) -> Cursor:
    """What an anchor file saw."""
    return Cursor(
        writer=said.writer,
        segment=said.segment,
        offset=said.offset,
        frames=0,
        last=bytes.fromhex(said.last),
        at=said.wall,
    )
