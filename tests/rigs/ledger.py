"""A ledger in a directory of the test, with a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from oracle.compare import LedgerRow

from modgate.api.secret import Secret
from modgate.api.sink import Attempt, Ending, Receipt
from modgate.ledger.frames import FRAME_HEAD, Kind
from modgate.ledger.policy import LedgerPolicy, OnFull
from modgate.ledger.records import Ended, Noted, Opened
from modgate.ledger.segments import frames_of, note_of
from modgate.ledger.segments import segments as by_number
from modgate.ledger.writer import Ledger

KEY = Secret("the ledger key of the tests")
WALL = 1_767_225_600.0


@dataclass
class Stopped:
    """A clock that moves when told."""

    at: float = 0.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return WALL + self.at


class Bounds(TypedDict, total=False):
    """What a ledger may be bounded by."""

    segment_bytes: int
    max_bytes: int
    on_full: OnFull
    keep_acknowledged_s: float | None
    sync_s: float
    anchor: Path | None


@contextmanager
def ledger(
    directory: Path,
    *,
    key: Secret = KEY,
    clock: Stopped | None = None,
    name: str = "",
    worker: str = "",
    boot: str | None = None,
    **bounds: Unpack[Bounds],
) -> Iterator[Ledger]:
    """A ledger that is closed at the end."""
    policy = LedgerPolicy(**bounds)
    made = Ledger(directory, key, clock or Stopped(), policy, name=name, worker=worker, boot=boot)
    try:
        yield made
    finally:
        made.close()


def stop_syncing(made: Ledger) -> None:
    """Its thread ends: what is written from now on is on the disk when the test says so."""
    made._thread.stop()


def let_go(made: Ledger) -> None:
    """Another writer may begin, though this one did not close."""
    made._chain_lock.close()


def kill(made: Ledger) -> None:
    """As a process that is killed leaves it: nothing more is written, its lock is free."""
    stop_syncing(made)
    let_go(made)


def opened(
    made: Ledger,
    request_id: str,
    *,
    model: str = "chat",
    tokens: int = 100,
) -> bool:
    """A request's first dispatch; whether it may go out."""
    return made.opened(
        Opened(
            v=1,
            id=request_id,
            wall=made._clock.wall(),
            tenant="acme",
            key_id="k1",
            model=model,
            modality="llm",
            reserved={"llm.output_tokens": tokens},
        )
    )


def receipt(
    request_id: str,
    *,
    tenant: str = "acme",
    tokens: int = 7,
    exact: bool = True,
    ending: Ending = "ok",
    attempts: tuple[Attempt, ...] = (),
) -> Receipt:
    """A request's end."""
    return Receipt(
        request_id=request_id,
        wall=WALL,
        duration_s=1.25,
        ending=ending,
        status=200,
        tenant=tenant,
        key_id="k1",
        method="POST",
        route="/v1/chat/completions",
        operation="chat",
        modality="llm",
        model="chat",
        surface="openai",
        slo="gold",
        stream=True,
        units={"llm.output_tokens": tokens, "llm.requests": 1},
        reserved={"llm.output_tokens": 100},
        exact=exact,
        measured_by="engine",
        attempts=attempts,
        first_byte_s=0.25,
        admitted=True,
        trace_id="0af7651916cd43dd8448eb211c80319c",
    )


def request(made: Ledger, request_id: str, **what: int) -> None:
    """A whole request."""
    opened(made, request_id)
    made.ended(receipt(request_id, tokens=what.get("tokens", 7)))


def compared(ends: Iterable[Ended]) -> list[LedgerRow]:
    """The ledger's ends as the oracles read them."""
    return [
        LedgerRow(
            request_id=row.id,
            tenant=row.tenant,
            modality=row.modality,
            units=row.units,
            exact=row.exact,
            outcome=row.ending,
            attempts=row.attempts,
        )
        for row in ends
    ]


def notes_of(directory: Path) -> list[Noted]:
    """What the chain says of the ledger itself."""
    found = []
    for path in by_number(directory, "").values():
        for _, each in frames_of(path, KEY):
            note = note_of(each) if each.kind is Kind.ANCHOR else None
            found += [note] if note is not None else []
    return found


def segments(directory: Path) -> list[Path]:
    """The files, oldest first."""
    return sorted(directory.glob("segment-*.ledger"))


def calls_another_kind(file: Path, kind: Kind, other: Kind) -> int:
    """The head of the first frame of a kind names another one; where that frame begins."""
    data = bytearray(file.read_bytes())
    found = next(each for _, each in frames_of(file, None) if each.kind is kind)
    begin = found.end - len(found.payload) - FRAME_HEAD
    data[begin + 1] = other  # neither checksum nor chain cover it
    file.write_bytes(data)
    return begin
