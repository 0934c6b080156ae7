"""What the ledger hands to a sink: rows, and how far the ledger was read when they were made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import msgspec
from pydantic import BaseModel, ConfigDict

from modgate.api.json import JsonObject
from modgate.api.secret import Secret

ROW_VERSION = 2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def must_fit_rows(text: str) -> None:
    """ValueError for what would stop a sink: half a character, or a control character."""
    text.encode()
    if _CONTROL.search(text):
        raise ValueError("a name that stands in the ledger has no control characters")


class UsageRow(msgspec.Struct, frozen=True):
    """A request's bill, or a correction of one.

    The key is (`request_id`, `kind`, `sequence`): a row that is there already is the same row, for
    none ever changes.  `began`, `ended`: seconds since the epoch.  `units`: by full name, of a
    correction what is added.  `region`, `backend`: of the attempt that answered, else of the last.
    `exact` false: a floor or an estimate.  `reason`: of a correction.  `note`: what a
    correction is about; of a bill `regions` and a JSON list of those that it is kept to.

    `fallback_for`, `fallback_on`: the model that was asked for, and why another one served it.
    `promise`: `best-effort` when no engine could keep what its class promises.  `on_disconnect`:
    `drained` when its client left and its engines finished all the same, `cut` when something ended
    that.  `would_refuse`: limits in shadow that would have refused it.  Rows of version 1 say none
    of these.
    """

    request_id: str
    kind: Literal["end", "adjust"]
    sequence: int
    writer: str
    began: float
    ended: float
    tenant: str
    key_id: str
    model: str
    modality: str
    operation: str = ""
    route: str = ""
    surface: str = ""
    slo: str = ""
    region: str = ""
    backend: str = ""
    stream: bool = False
    ending: str = ""
    status: int = 0
    error: str = ""
    first_byte_s: float | None = None
    exact: bool = True
    measured_by: str = ""
    reason: str = ""
    note: str = ""
    trace_id: str = ""
    units: Mapping[str, int] = {}
    reserved: Mapping[str, int] = {}
    attempts: Sequence[JsonObject] = ()
    v: int = ROW_VERSION
    fallback_for: str = ""
    fallback_on: str = ""
    promise: str = ""
    on_disconnect: str = ""
    would_refuse: str = ""


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a writer's ledger was read: behind a frame, whose chain is `last`.

    `offset`, `frames`: bytes and frames of that segment.  `at`: what was written a minute before
    that time, and earlier, has been read; seconds since the epoch.
    """

    writer: str
    segment: int
    offset: int
    frames: int
    last: bytes
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """Rows in the order of the ledger, and the cursor behind them."""

    rows: Sequence[UsageRow]
    cursor: Cursor


class SinkDown(Exception):
    """The sink cannot take rows now; the text is shown to operators and holds no secret."""


class NoConfig(BaseModel):
    """Of a sink that takes none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LedgerSink:
    """Where the ledger's rows go; a plugin brings one by `modgate_sinks`, `kind = "NAME"` uses it.

    It runs on an event loop and a thread of its own: it may do I/O and may block, for no request
    waits for it.  Rows come at least once.  Whatever it raises, the ledger keeps the rows, closes
    it, and begins again with a new one after a while.
    """

    name: ClassVar[str] = ""
    config_type: ClassVar[type[BaseModel]] = NoConfig

    def __init__(self, config: BaseModel, *, folder: Path, password: Secret | None) -> None:
        """`folder`: the gateway's state directory.  ValueError: it cannot be used on this machine.

        No I/O yet.
        """
        del config, folder, password

    async def open(self) -> Sequence[Cursor]:
        """Connect and make the tables; the answer: the cursor of every writer that it knows."""
        raise NotImplementedError  # each sink has its own

    async def write(self, shipment: Shipment) -> None:
        """Keep the rows, and the cursor in the same transaction, for good.

        Returning is the acknowledgement: the ledger may then drop what it holds of them.  Rows
        that are there already are passed over; a cursor never goes back.
        """
        raise NotImplementedError  # each sink has its own

    async def look(self) -> None:
        """See whether what was acknowledged is still where people look for it; each second or so.

        Raise SinkDown when it is not, as when somebody has removed it: a new sink is opened, and is
        given what its cursors do not have, as far as the ledger keeps it.
        """

    async def close(self) -> None:
        """Let go of everything, also after a failure."""
