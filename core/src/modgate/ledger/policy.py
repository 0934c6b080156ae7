"""What the operator decides about a ledger: how much it keeps, and how soon it is safe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OnFull = Literal["refuse", "drop-oldest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPolicy:
    """The bounds of one chain; the defaults are those of the section `[ledger]`.

    `segment_bytes`: the size at which a new segment file begins.
    `max_bytes`: what all segments of the chain may take together.
    `on_full`: what happens at `max_bytes`: new requests are refused, or the oldest segment goes.
    `keep_acknowledged_s`: how long a segment stays that every sink has; None: for ever.
    `sync_s`: frames reach the disk in groups that are this far apart, so a power cut loses about
    as much.
    `anchor`: the file, best on another disk, that is told the newest chain value; None: no file.
    """

    segment_bytes: int = 64 << 20
    max_bytes: int = 8 << 30
    on_full: OnFull = "refuse"
    keep_acknowledged_s: float | None = None
    sync_s: float = 0.02
    anchor: Path | None = None
